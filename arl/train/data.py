"""Joined shard samples → the groups a step trains on.

Reinforcement learning reads `.emb.safetensors`, `.prompt.json`, `.rollout.json` and `.reward.json`; supervised
training reads `.feat.safetensors` or `.emb.safetensors` and the reference transcript in `.json`. Synthesis has no
embeddings; the losses that read what is to be spoken take it from `.json`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from arl.engine.predictor import FrameHistory
from arl.errors import ArlError
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Codes, Hypothesis, Meta, Prompt, Reward, Rollout
from arl.train.finite import is_finite
from arl.train.groups import PromptGroup

Reference = Callable[[Sample], torch.Tensor | None]  # what supervised training has a sample say, if it has that
CLIP_DTYPES = "float16", "bfloat16", "float32", "float64"


@dataclass
class Batch:
    """The groups of one step, and what its rewards were."""

    groups: list[PromptGroup]
    metrics: dict[str, float] = field(default_factory=dict)
    temperature: float = 1.0


def read_clip(sample: Sample, member: str, name: str) -> torch.Tensor:
    """The [T, H] tensor of a member. ArlError when it is missing, of another form, or not finite."""
    if member not in sample.members:
        raise ArlError(f"{sample.where}: no .{member}; join the shards that hold it with another --shards")
    info = columns.tensor_info(sample, member, name)
    shape = list(info.shape)
    if len(shape) != 2 or 0 in shape:
        raise ArlError(f"{sample.where}: {member}: shape {shape} is not [T, H]; encode again")
    if info.dtype not in CLIP_DTYPES:
        raise ArlError(f"{sample.where}: {member}: {info.dtype} numbers are no embeddings; encode again")
    try:
        clip = load_tensors(sample.members[member])[name]
    except SafetensorError as error:
        raise ArlError(f"{sample.where}: {member}: not safetensors ({error}); encode again") from error
    if not is_finite(clip):
        raise ArlError(f"{sample.where}: {member}: NaN or infinite values; encode again")
    return clip


def shards_of(sample: Sample) -> str:
    """Where a sample lies, for error messages."""
    return sample.where.removesuffix(f"sample {sample.key!r}").removesuffix(": ")


def named(sample: Sample) -> str:
    """Shards and key, as `PromptGroup.where` has them."""
    shards = shards_of(sample)
    return f"{shards}: {sample.key}" if shards else sample.key


def rl_batch(
    samples: Iterable[Sample], version: str, allow_stale: bool, *, correct: bool = False, risk: str = "",
    gather: int = 0, with_clips: bool = True, with_text: bool = False, reference: Reference | None = None,
    history: FrameHistory | None = None,
) -> Batch:  # fmt: skip
    """Groups with advantages. Hypotheses without an advantage (null reward) are left out, and groups without any.

    ArlError for rollouts of another policy version unless `allow_stale`. Stale groups, and with `correct` all, keep the
    log-probabilities they were sampled with, for importance weights. risk: what `mwer` minimises, see `risks`; it needs
    no such weights. gather: dynamic sampling, keep the first so many groups with non-zero reward variance, all groups
    where none has it; 0 keeps all. The metrics on rewards are of all that was read. with_clips: prompts have
    embeddings; with_text: groups get the text of `.json`; reference: and the tokens that it gives, ArlError where no
    sample of the batch has some; history: of a policy whose frames have other codes.
    """
    tally, groups = RewardTally(), []
    for sample in samples:
        rollout, reward = Rollout.of(sample), Reward.of(sample)
        is_stale = rollout.policy != version
        if is_stale and not allow_stale:
            raise ArlError(f"{named(sample)}: rolled out by policy {rollout.policy}, not by {version}: roll out again "
                           "after `arl sync`, or say --allow-stale")  # fmt: skip
        advantages, hyps = reward.advantages, rollout.hyps
        if len(advantages) != len(hyps):
            raise ArlError(f"{sample.where}: {len(hyps)} hypotheses but {len(advantages)} advantages: score them again")
        kept = [i for i, (hyp, a) in enumerate(zip(hyps, advantages, strict=True)) if a is not None and hyp.tokens]
        tally.add(rollout, reward, kept, is_stale)
        if kept:
            with_sampled = (is_stale or correct) and not risk
            group = make_group(sample, rollout, reward, kept, with_sampled, risk, with_clips, history)
            group = replace(group, text=read_text(sample)) if with_text else group
            groups.append(replace(group, reference=reference(sample)) if reference else group)
    if not groups:
        raise ArlError("no group has a reward: every hypothesis of the batch is excluded; look at the reward programs")
    if len(tally.temperatures) > 1:
        raise ArlError(f"the rollouts mix temperatures {sorted(tally.temperatures)}: roll out again with one")
    chosen = ([group for group in groups if group.has_reward_variance][:gather] or groups) if gather else groups
    if reference and all(group.reference is None for group in chosen):
        raise ArlError("--ce: no sample of the batch has a transcript or recording to train on")
    n_tokens = sum(group.n_tokens for group in chosen)
    metrics = {
        **tally.metrics(), "groups": len(chosen), "tokens": n_tokens,
        "length": n_tokens / sum(len(group.responses) for group in chosen),
    }  # fmt: skip
    if gather:
        metrics["left_out"] = len(groups) - len(chosen)
    return Batch(chosen, metrics, tally.temperatures.pop() or 1.0)


@dataclass
class RewardTally:
    """What the scored rollouts of a batch were like."""

    rewards: list[float] = field(default_factory=list)
    components: dict[str, list[float]] = field(default_factory=dict)
    temperatures: set[float] = field(default_factory=set)
    zero_spread: int = 0
    excluded: int = 0
    truncated: int = 0
    stale: int = 0

    def add(self, rollout: Rollout, reward: Reward, kept: Sequence[int], is_stale: bool) -> None:
        """One group; kept: the indices of its hypotheses that are trained on."""
        hyps = rollout.hyps
        self.temperatures.add(rollout.temperature)
        self.excluded += len(hyps) - len(kept)
        self.truncated += sum(hyps[i].finish == "length" for i in kept)
        self.rewards += [r for r in reward.rewards if r is not None]
        for name, values in reward.components.items():
            self.components.setdefault(name, []).extend(v for v in values if v is not None)
        self.zero_spread += bool(kept) and all(reward.advantages[i] == 0 for i in kept)
        self.stale += bool(kept) and is_stale

    def metrics(self) -> dict[str, float]:
        """For the record. Means are over hypotheses, the empty ones included."""
        return {
            "reward": sum(self.rewards) / len(self.rewards), "zero_spread": self.zero_spread,
            "excluded": self.excluded, "truncated": self.truncated, "stale": self.stale,
            **{f"reward_{name}": sum(v) / len(v) for name, v in self.components.items() if v},
        }  # fmt: skip


def read_text(sample: Sample) -> str:
    """What is to be spoken. ArlError when it is missing."""
    if columns.META not in sample.members:
        raise ArlError(f"{named(sample)}: no text to speak: join the shards whose .json has it with another --shards")
    return Meta.of(sample).text


def make_group(
    sample: Sample, rollout: Rollout, reward: Reward, kept: Sequence[int], with_sampled: bool, risk: str,
    with_clips: bool = True, history: FrameHistory | None = None,
) -> PromptGroup:  # fmt: skip
    """The hypotheses at the indices `kept` of one utterance."""
    hyps = [rollout.hyps[i] for i in kept]
    return PromptGroup(
        key=sample.key,
        prompt=torch.tensor(Prompt.of(sample).input_ids),
        clips=[read_clip(sample, columns.EMB, "emb")] if with_clips else [],
        responses=[torch.tensor(hyp.tokens) for hyp in hyps],
        advantages=[advantage for i in kept if (advantage := reward.advantages[i]) is not None],
        sampled=[torch.tensor(hyp.logprobs) for hyp in hyps] if with_sampled else [],
        errors=risks(named(sample), reward, kept, risk) if risk else [],
        shards=shards_of(sample),
        residual=[other_codes(sample, hyp, history) for hyp in hyps] if history else [],
        history=history,
    )


def other_codes(sample: Sample, hyp: Hypothesis, history: FrameHistory) -> torch.Tensor:
    """The other codes of a hypothesis' frames, int64 [R - 1, L]. ArlError where the rollout has them not."""
    levels, codes = len(history.tables), hyp.residual
    if len(codes) != len(hyp.tokens) - 1 or any(len(frame) != levels for frame in codes):
        raise ArlError(f"{named(sample)}: a rollout without {levels} other codes for each frame: roll out again with "
                       "this policy")  # fmt: skip
    found = torch.tensor(codes, dtype=torch.long).reshape(len(codes), levels)
    if len(codes) and int(found.max()) >= len(history.tables[0]):
        raise ArlError(f"{named(sample)}: a frame has code {int(found.max())}, of {len(history.tables[0])}: roll out "
                       "again with this policy")  # fmt: skip
    return found


def risks(where: str, reward: Reward, kept: Sequence[int], kind: str) -> list[float]:
    """What `mwer` minimises, per hypothesis: "errors", the word errors that the `wer` program counted, or "reward", the
    total reward negated. ArlError where the errors are not in the shard."""
    if kind == "reward":
        return [-total for i in kept if (total := reward.rewards[i]) is not None]
    counts = [reward.metrics.get(f"wer.{name}") for name in ("substitutions", "deletions", "insertions")]
    found = [[count for i in kept if each is not None and (count := each[i]) is not None] for each in counts]
    if any(len(of_kept) < len(kept) for of_kept in found):
        raise ArlError(f"{where}: no word errors beside the rewards: score again with --with wer (=0 records them "
                       "without rewarding them), or say --risk reward")  # fmt: skip
    return [float(sum(each)) for each in zip(*found, strict=True)]


def transcripts(tokenizer: Any, eos: int, text_kind: str) -> Reference:
    """What the model writes in front of a transcript, the reference transcript and the stop token; None for a sample
    without a transcript, and for one that `arl encode` could not encode. ArlError where no `.json` is joined."""

    def tokens(sample: Sample) -> torch.Tensor | None:
        if columns.META not in sample.members:
            raise ArlError(f"{named(sample)}: no transcript: join the shards whose .json has it with another --shards")
        text, prompt = training_text(Meta.of(sample).text, text_kind), Prompt.of(sample)
        if not text or prompt.error is not None:
            return None
        return torch.tensor([*tokenizer.encode((prompt.before or "") + text, add_special_tokens=False).ids, eos])

    return tokens


def recordings(acoustic: tuple[int, int], eos: int) -> Reference:
    """The codes of the recording as tokens, and the stop token; None for a sample without a recording, and for a text
    that `arl encode` could not take. acoustic: (token of code 0, number of codes). ArlError for a code that the policy
    does not speak."""
    first, n_codes = acoustic

    def tokens(sample: Sample) -> torch.Tensor | None:
        if Prompt.of(sample).error is not None or columns.CODES not in sample.members:
            return None
        codes = Codes.of(sample).codes
        if codes and max(codes) >= n_codes:
            raise ArlError(f"{sample.where}: {Codes.MEMBER}: code {max(codes)}, but the policy speaks {n_codes} codes; "
                           f"{Codes.REMEDY}")  # fmt: skip
        return torch.tensor([*(first + code for code in codes), eos])

    return tokens


def supervised_batch(
    samples: Iterable[Sample], reference: Reference, clip: tuple[str, str] | None, lacking: str
) -> Batch:
    """Groups of one response, the reference's. clip: member and tensor of the prompt's clip, if it has one.

    Left out: samples without a reference. ArlError with `lacking` where the batch has no other.
    """
    groups = []
    for sample in samples:
        tokens = reference(sample)
        if tokens is None:
            continue
        clips = [read_clip(sample, *clip)] if clip else []
        ids = torch.tensor(Prompt.of(sample).input_ids)
        groups.append(PromptGroup(sample.key, ids, clips, [tokens], [0.0], shards=shards_of(sample)))
    if not groups:
        raise ArlError(lacking)
    n_tokens = sum(group.n_tokens for group in groups)
    return Batch(groups, {"groups": len(groups), "tokens": n_tokens, "length": n_tokens / len(groups)})


def sft_batch(samples: Iterable[Sample], tokenizer: Any, eos: int, text_kind: str, from_features: bool) -> Batch:
    """Groups of one response, of `transcripts`. The clip is features or embeddings."""
    clip = (columns.FEAT, "feat") if from_features else (columns.EMB, columns.EMB_TENSOR)
    lacking = "no sample of the batch has a transcript to train on"
    return supervised_batch(samples, transcripts(tokenizer, eos, text_kind), clip, lacking)


def speech_batch(samples: Iterable[Sample], acoustic: tuple[int, int], eos: int, with_clips: bool = False) -> Batch:
    """Groups of one response, of `recordings`. with_clips: prompts have embeddings."""
    clip = (columns.EMB, columns.EMB_TENSOR) if with_clips else None
    lacking = "no sample of the batch has a recording to train on: encode shards that have audio and text"
    return supervised_batch(samples, recordings(acoustic, eos), clip, lacking)


def training_text(text: str, kind: str) -> str:
    """`plain`: as it is. `characters`: lower-case letters, apostrophes and single spaces: the small vocabulary."""
    if kind == "plain":
        return text.strip()
    kept = "".join(c if c in "abcdefghijklmnopqrstuvwxyz'" else " " for c in text.lower().replace("’", "'"))
    return " ".join(kept.split())
