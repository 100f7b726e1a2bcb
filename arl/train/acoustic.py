"""Groups of a synthesis policy → what a loss on acoustic tokens sees of them.

    plans = plan_loss(loss, groups, "seed/update")
    acoustic = make_acoustic_batch(plans, groups[:2], scores, reference, loss.codebook)

A hypothesis' weight and the seed of its noise are fixed before the batch is cut into micro-batches, so the cut never
changes the result; the seed is made of (seed, update, utterance, index in the group), so that a resumed run draws the
same noise.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from arl.losses.acoustic import AcousticBatch, AcousticHypothesis, Codebook
from arl.losses.micro_batch import AcousticLoss
from arl.train.groups import PromptGroup
from arl.train.logprobs import TokenScores


@dataclass(frozen=True)
class LossPlan:
    """What is fixed of one group for the whole batch: its hypotheses, and each one's weight in the mean reward."""

    hypotheses: list[AcousticHypothesis]
    weights: list[float]


def plan_loss(loss: AcousticLoss, groups: Sequence[PromptGroup], noise: str) -> dict[str, LossPlan]:
    """By key. noise: names the step, for the seeds."""
    found = [acoustic_hypotheses(group, loss.codebook, noise) for group in groups]
    weights = iter(loss.hypothesis_weights([hypothesis for group in found for hypothesis in group]))
    return {
        group.key: LossPlan(hypotheses, [next(weights) for _ in hypotheses])
        for group, hypotheses in zip(groups, found, strict=True)
    }


def acoustic_hypotheses(group: PromptGroup, codebook: Codebook, noise: str) -> list[AcousticHypothesis]:
    return [
        AcousticHypothesis(
            codes=int(codebook.is_code(response).sum()),
            text=group.text,
            advantage=advantage,
            seed=seed_of(f"{noise}/{group.key}/{index}"),
        )
        for index, (response, advantage) in enumerate(zip(group.responses, group.advantages, strict=True))
    ]


def seed_of(name: str) -> int:
    """63 bits for a generator."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def make_acoustic_batch(
    plans: Mapping[str, LossPlan], groups: Sequence[PromptGroup], scores: TokenScores, reference: TokenScores | None,
    codebook: Codebook,
) -> AcousticBatch:  # fmt: skip
    """Of a micro-batch. scores, and reference's: with the distributions over the codebook."""
    assert scores.codes is not None and scores.stop is not None
    target = torch.cat([response for group in groups for response in group.responses])
    return AcousticBatch(
        policy=scores.codes,
        reference=reference.codes if reference is not None else None,
        codes=(target[codebook.is_code(target)] - codebook.first).to(scores.codes.hidden.device),
        stop=scores.stop,
        hypotheses=[hypothesis for group in groups for hypothesis in plans[group.key].hypotheses],
        weights=[weight for group in groups for weight in plans[group.key].weights],
    )
