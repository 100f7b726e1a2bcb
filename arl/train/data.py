"""Joined shard samples → the groups a step trains on.

Reinforcement learning reads `.emb.safetensors`, `.prompt.json`, `.rollout.json` and `.reward.json`; supervised
training reads `.feat.safetensors` or `.emb.safetensors` and the reference transcript in `.json`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import load as load_tensors

from arl.errors import ArlError
from arl.shards import columns
from arl.shards.reader import Sample
from arl.train.groups import Group


@dataclass
class Batch:
    """The groups of one step, and what its rewards were."""

    groups: list[Group]
    figures: dict[str, float] = field(default_factory=dict)
    temperature: float = 1.0


def read_clip(sample: Sample, member: str, name: str) -> torch.Tensor:
    """The [T, H] tensor of a member. ArlError when it is missing."""
    if member not in sample.members:
        raise ArlError(f"{sample.key}: no .{member}; join the shards that hold it with another --shards")
    return load_tensors(sample.members[member])[name]


def rl_batch(samples: Iterable[Sample], version: str, allow_stale: bool) -> Batch:
    """Groups with advantages. Hypotheses without an advantage (null reward) are left out, and groups without any.

    ArlError for rollouts of another policy version unless `allow_stale`, which keeps the log-probabilities they were
    sampled with for truncated importance sampling.
    """
    groups, rewards, temperatures = [], [], set()
    components: dict[str, list[float]] = {}
    n_zero = n_excluded = n_truncated = n_hyps = n_stale = 0
    for sample in samples:
        rollout, reward = sample.json(columns.ROLLOUT), sample.json(columns.REWARD)
        is_stale = rollout["policy"] != version
        if is_stale and not allow_stale:
            raise ArlError(f"{sample.key}: rolled out by policy {rollout['policy']}, not by {version}: roll out again "
                           "after `arl sync`, or say --allow-stale")  # fmt: skip
        advantages, hyps = reward["advantages"], rollout["hyps"]
        if len(advantages) != len(hyps):
            raise ArlError(f"{sample.key}: {len(hyps)} hypotheses but {len(advantages)} advantages: score them again")
        temperatures.add(rollout["temperature"])
        kept = [(h, a) for h, a in zip(hyps, advantages, strict=True) if a is not None and h["tokens"]]
        n_excluded += len(hyps) - len(kept)
        n_hyps += len(kept)
        n_truncated += sum(h["finish"] == "length" for h, _ in kept)
        rewards += [r for r in reward["rewards"] if r is not None]
        for name, values in reward["components"].items():
            components.setdefault(name, []).extend(v for v in values if v is not None)
        if not kept:
            continue
        n_zero += all(a == 0 for _, a in kept)
        n_stale += is_stale
        groups.append(make_group(sample, [h for h, _ in kept], [a for _, a in kept], is_stale))
    if not groups:
        raise ArlError("no group has a reward: every hypothesis of the batch is excluded; look at the reward programs")
    if len(temperatures) > 1:
        raise ArlError(f"the rollouts mix temperatures {sorted(temperatures)}: roll out again with one")
    n_tokens = sum(group.n_tokens for group in groups)
    figures = {
        "reward": sum(rewards) / len(rewards), "groups": len(groups), "zero_spread": n_zero, "excluded": n_excluded,
        "truncated": n_truncated, "length": n_tokens / n_hyps, "tokens": n_tokens, "stale": n_stale,
        **{f"reward_{name}": sum(v) / len(v) for name, v in components.items() if v},
    }  # fmt: skip
    return Batch(groups, figures, temperatures.pop() or 1.0)


def make_group(sample: Sample, hyps: Sequence[dict[str, Any]], advantages: list[float], is_stale: bool) -> Group:
    return Group(
        key=sample.key,
        prompt=torch.tensor(sample.json(columns.PROMPT)["input_ids"]),
        clips=[read_clip(sample, columns.EMB, "emb")],
        responses=[torch.tensor(hyp["tokens"]) for hyp in hyps],
        advantages=advantages,
        sampled=[torch.tensor(hyp["logprobs"]) for hyp in hyps] if is_stale else [],
    )


def sft_batch(samples: Iterable[Sample], tokenizer: Any, eos: int, text_kind: str, from_features: bool) -> Batch:
    """Groups of one response, the reference transcript and the stop token. The clip is features or embeddings.

    Left out: samples without a transcript, and those that `arl encode` could not encode.
    """
    member, name = (columns.FEAT, "feat") if from_features else (columns.EMB, "emb")
    groups = []
    for sample in samples:
        text = training_text(sample.json(columns.META)["text"], text_kind)
        prompt = sample.json(columns.PROMPT)
        if not text or "error" in prompt:
            continue
        tokens = tokenizer.encode(text, add_special_tokens=False).ids + [eos]
        ids = torch.tensor(prompt["input_ids"])
        groups.append(Group(sample.key, ids, [read_clip(sample, member, name)], [torch.tensor(tokens)], [0.0]))
    if not groups:
        raise ArlError("no sample of the batch has a transcript to train on")
    n_tokens = sum(group.n_tokens for group in groups)
    return Batch(groups, {"groups": len(groups), "tokens": n_tokens, "length": n_tokens / len(groups)})


def training_text(text: str, kind: str) -> str:
    """`plain`: as it is. `characters`: lower-case letters, apostrophes and single spaces: the small vocabulary."""
    if kind == "plain":
        return text.strip()
    kept = "".join(c if c in "abcdefghijklmnopqrstuvwxyz'" else " " for c in text.lower().replace("’", "'"))
    return " ".join(kept.split())
