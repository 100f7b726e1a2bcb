"""Small shards to train on: embeddings or features, rollouts, rewards and transcripts of random content.

    shards = make_rl_shards(tmp_path, Policy.open("policy"))      # ["…/emb", "…/rollout", "…/reward"]

Left out: audio; tests of `arl encode` make their own.
"""

import random
from pathlib import Path

import torch

from arl.policy import Policy
from arl.rewards.advantages import advantages
from arl.shards import columns
from arl.shards.writer import write_shard

WORDS = ["one", "two", "three", "seven", "hello", "goodbye"]
FIRST_LETTER, LETTERS = 6, 26  # token ids of the character vocabularies


def make_rl_shards(
    folder: Path, policy: Policy, *, shards: int = 2, utterances: int = 3, group: int = 3, version: str = "",
    width: int = 0, temperature: float = 1.0,
) -> list[str]:  # fmt: skip
    """Writes emb/, rollout/ and reward/ below `folder`; `version`: of the rollouts (default: the policy's)."""
    rng, generator = random.Random(1), torch.Generator().manual_seed(1)
    for shard in range(shards):
        keys = [f"utt-{shard}-{i}" for i in range(utterances)]
        emb, rollout, reward = [], [], []
        for key in keys:
            clip = torch.randn(rng.randint(3, 9), width or policy.embedding_dim, generator=generator)
            emb.append((key, {columns.EMB: columns.save_tensor("emb", clip), columns.PROMPT: prompt(policy)}))
            hyps = [make_hyp(rng, policy) for _ in range(group)]
            content = {"policy": version or policy.version, "temperature": temperature, "hyps": hyps}
            rollout.append((key, {columns.ROLLOUT: columns.dumps(content)}))
            values: list[float | None] = [rng.random() for _ in range(group)]
            scores = {"components": {"wer": values}, "rewards": values, "advantages": advantages(values)}
            reward.append((key, {columns.REWARD: columns.dumps(scores)}))
        for name, rows in (("emb", emb), ("rollout", rollout), ("reward", reward)):
            write_shard(folder / name / f"{shard:06d}.tar", rows)
    return [str(folder / name) for name in ("emb", "rollout", "reward")]


def make_hyp(rng: random.Random, policy: Policy) -> dict:
    tokens = [FIRST_LETTER + rng.randrange(LETTERS) for _ in range(rng.randint(1, 6))] + [policy.eos_token_id]
    return {"text": "", "tokens": tokens, "logprobs": [-2.0] * len(tokens), "finish": "stop"}


def make_sft_shards(
    folder: Path, policy: Policy, *, shards: int = 4, utterances: int = 2, features: int = 0
) -> list[str]:
    """Writes data/ (transcripts) and emb/, or feat/ of `features` wide, below `folder`."""
    rng, generator = random.Random(2), torch.Generator().manual_seed(2)
    member, tensor, name = (columns.FEAT, "feat", "feat") if features else (columns.EMB, "emb", "emb")
    for shard in range(shards):
        keys = [f"utt-{shard}-{i}" for i in range(utterances)]
        clips = [torch.randn(rng.randint(20, 40), features or policy.embedding_dim, generator=generator) for _ in keys]
        encoded = [
            (key, {member: columns.save_tensor(tensor, clip), columns.PROMPT: prompt(policy)})
            for key, clip in zip(keys, clips, strict=True)
        ]
        texts = [" ".join(rng.choices(WORDS, k=2)) for _ in keys]
        data = [
            (key, {columns.META: columns.dumps({"text": text, "lang": "en"})})
            for key, text in zip(keys, texts, strict=True)
        ]
        write_shard(folder / name / f"{shard:06d}.tar", encoded)
        write_shard(folder / "data" / f"{shard:06d}.tar", data)
    return [str(folder / name), str(folder / "data")]


def prompt(policy: Policy) -> bytes:
    return columns.dumps({"input_ids": policy.prompt})
