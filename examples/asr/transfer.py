"""Does what a policy would learn from these rollouts serve those utterances? Cosines of the loss's gradients.

    arl rollout --shards emb/train --policy policy --group 6 --temperature 0.5 -o train      # and for emb/dev, -o dev
    arl reward --shards train --shards data/train --with wer -o train-reward
    python -m examples.asr.transfer --policy policy --shards emb/train --shards train --shards train-reward \
      --against emb/dev --against dev --against dev-reward

Two halves of one set that have little in common say that a step follows chance; a set whose parts agree with each
other, but not with the other set, that it learns what is of no use there. All rollouts are by the policy itself. No KL.
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from arl.errors import ArlError
from arl.losses.micro_batch import Loss
from arl.losses.registry import make_loss
from arl.losses.settings import LossSettings
from arl.policy import Policy
from arl.runtime.device import flushed_denormals, pick_device
from arl.shards.paths import joined_shards
from arl.shards.reader import read_joined
from arl.train.data import Batch, rl_batch
from arl.train.groups import PromptGroup
from arl.train.load import llm
from arl.train.step import Compute, policy_backward

PARTS = 6


def main(
    policy: Annotated[Path, typer.Option(help="Whose rollouts they are.")],
    shards: Annotated[list[str], typer.Option(help="Embeddings, rollouts, rewards: what is trained on.")],
    against: Annotated[list[str], typer.Option(help="The same of the utterances that it shall serve.")],
    loss: str = "dapo",
    seed: int = 0,
    threads: int = 0,
) -> None:
    opened, value = Policy.open(policy), make_loss(LossSettings(loss=loss, beta=0.0))
    with flushed_denormals():
        model = llm(opened.llm_dir, pick_device("cpu", threads)).requires_grad_(True)
        compute = Compute(opened.audio_token_id)
        own, other = (
            parts_of(model, batch_of(opened, specs), value, compute, n_parts, seed)
            for specs, n_parts in ((shards, PARTS), (against, 2))
        )
    whole, target = sum(own), sum(other)
    print(f"halves of --shards: {cosine(sum(own[::2]), sum(own[1::2])):.3f}, of --against: {cosine(*other):.3f}")
    by_part = sum(cosine(part, target) for part in own) / PARTS
    print(f"--shards with --against: {cosine(whole, target):.3f}, a {PARTS}th of --shards: {by_part:.3f}")


def batch_of(policy: Policy, specs: Sequence[str]) -> Batch:
    """All groups of the shards. ArlError as `rl_batch`."""
    samples = (sample for _, paths in joined_shards(specs) for sample in read_joined(paths))
    return rl_batch(samples, policy.version, allow_stale=False)


def parts_of(model: Any, batch: Batch, loss: Loss, compute: Compute, n_parts: int, seed: int) -> list[Tensor]:
    """The loss's gradient on each of so many random parts of the groups, float64, flat."""
    groups: list[PromptGroup] = list(batch.groups)
    random.Random(seed).shuffle(groups)
    compute.temperature = batch.temperature
    return [gradient(model, groups[place::n_parts], loss, compute) for place in range(n_parts)]


def gradient(model: Any, groups: Sequence[PromptGroup], loss: Loss, compute: Compute) -> Tensor:
    policy_backward(model, groups, loss, None, compute)
    found = torch.cat([weight.grad.flatten().double() for weight in model.parameters() if weight.grad is not None])
    model.zero_grad(set_to_none=True)
    return found


def cosine(one: Any, other: Any) -> float:
    return float(one @ other / (one.norm() * other.norm()))


if __name__ == "__main__":
    try:
        typer.run(main)
    except ArlError as error:
        sys.exit(f"transfer: {error}")
