"""Groups of a synthesis policy → what a loss on acoustic tokens sees of them.

    plans = plan(loss, groups, "seed/update"); part.speech = make_speech(plans, micro, scores, anchor, loss.codebook)

A hypothesis' weight and the seed of its noise are fixed before the batch is cut into micro-batches, so the cut never
changes the result; the seed is made of (seed, update, utterance, place in the group), so that a resumed run draws the
same noise.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from arl.losses.part import SpeechLoss
from arl.losses.speech import Codebook, Speech, Spoken
from arl.train.groups import Group
from arl.train.logprobs import TokenScores


@dataclass(frozen=True)
class Plan:
    """One group's hypotheses, and the weight of each in the batch's mean reward."""

    hypotheses: list[Spoken]
    weights: list[float]


def plan(loss: SpeechLoss, groups: Sequence[Group], noise: str) -> dict[str, Plan]:
    """By key, what is fixed for the whole batch. noise: names the step."""
    spoken = [hypotheses_of(group, loss.codebook, noise) for group in groups]
    weights = iter(loss.hypothesis_weights([hypothesis for group in spoken for hypothesis in group]))
    return {
        group.key: Plan(hypotheses, [next(weights) for _ in hypotheses])
        for group, hypotheses in zip(groups, spoken, strict=True)
    }


def hypotheses_of(group: Group, codebook: Codebook, noise: str) -> list[Spoken]:
    return [
        Spoken(int(codebook.is_code(response).sum()), group.text, advantage, seed_of(f"{noise}/{group.key}/{place}"))
        for place, (response, advantage) in enumerate(zip(group.responses, group.advantages, strict=True))
    ]


def seed_of(name: str) -> int:
    """63 bits for a generator."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def make_speech(
    plans: Mapping[str, Plan], groups: Sequence[Group], scores: TokenScores, anchor: TokenScores | None,
    codebook: Codebook,
) -> Speech:  # fmt: skip
    """Of a micro-batch; scores and anchor, the reference's, with the codebook's distributions."""
    assert scores.codes is not None and scores.stop is not None
    target = torch.cat([response for group in groups for response in group.responses])
    return Speech(
        log_probs=scores.codes,
        reference=anchor.codes if anchor is not None else None,
        codes=(target[codebook.is_code(target)] - codebook.first).to(scores.codes.device),
        stop=scores.stop,
        hypotheses=[hypothesis for group in groups for hypothesis in plans[group.key].hypotheses],
        weights=[weight for group in groups for weight in plans[group.key].weights],
    )
