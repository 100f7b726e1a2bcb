"""The losses by their formulas: plain floats, one group, one hypothesis, one token after the other.

Written from the papers, not from arl/losses; slow. `slopes` differentiates by central differences.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass
class Hyp:
    """One hypothesis: reward None is excluded; the lists hold a log-probability per token."""

    tokens: list[int]
    reward: float | None
    errors: int
    now: list[float]
    old: list[float]
    reference: list[float]
    engine: list[float]


@dataclass(frozen=True)
class Terms:
    """Which loss. bounds: (low, high) of the importance weights, None for none; level: token or sequence."""

    name: str
    clip_low: float = 0.2
    clip_high: float = 0.2
    clip_dual: float = 0.0
    beta: float = 0.0
    kl: str = "k3"
    kl_ratio: bool = False
    divisor: float = 7.0
    importance: str = "none"
    bounds: tuple[float, float] = (0.5, 2.0)
    level: str = "token"
    mwer_form: str = "list"
    mwer_scale: float = 0.0
    mwer_errors: str = "std"


@dataclass
class Group:
    hyps: list[Hyp] = field(default_factory=list)

    @property
    def kept(self) -> list[Hyp]:
        return [hyp for hyp in self.hyps if hyp.reward is not None]


def loss(groups: list[Group], terms: Terms) -> float:
    groups = [group for group in groups if group.kept]
    n_tokens = sum(len(hyp.tokens) for group in groups for hyp in group.kept)
    total = 0.0
    for group in groups:
        if terms.name == "mwer":
            total += expected_errors(group.kept, terms) / len(groups)
        for i, hyp in enumerate(group.kept):
            for t in range(len(hyp.tokens)):
                value = -terms.beta * divergence(hyp, t, terms)
                if terms.name != "mwer":
                    value += importance(hyp, t, terms) * surrogate(hyp, t, advantage(group.kept, i, terms), terms)
                if terms.name == "dapo":
                    total -= value / n_tokens
                elif terms.name == "dr_grpo":
                    total -= value / terms.divisor / len(group.kept) / len(groups)
                else:
                    total -= value / len(hyp.tokens) / len(group.kept) / len(groups)
    return total


def advantage(hyps: list[Hyp], i: int, terms: Terms) -> float:
    rewards = [hyp.reward for hyp in hyps]
    if len(set(rewards)) == 1:
        return 0.0
    centred = rewards[i] - statistics.fmean(rewards)
    return centred if terms.name == "dr_grpo" else centred / (statistics.stdev(rewards) + 1e-6)


def surrogate(hyp: Hyp, t: int, advantage: float, terms: Terms) -> float:
    """The clipped objective of one token; in GSPO, of the token's hypothesis."""
    if terms.name == "gspo":
        product = math.exp(sum(hyp.now)) / math.exp(sum(hyp.old))
        ratio = product ** (1 / len(hyp.tokens))
    else:
        ratio = math.exp(hyp.now[t]) / math.exp(hyp.old[t])
    bounded = min(max(ratio, 1 - terms.clip_low), 1 + terms.clip_high)
    value = min(ratio * advantage, bounded * advantage)
    if terms.clip_dual and advantage < 0:
        value = max(value, terms.clip_dual * advantage)
    return value


def divergence(hyp: Hyp, t: int, terms: Terms) -> float:
    d = hyp.reference[t] - hyp.now[t]
    value = {"k1": -d, "k2": d * d / 2, "k3": math.exp(d) - 1 - d}[terms.kl]
    return value * math.exp(hyp.now[t] - hyp.old[t]) if terms.kl_ratio else value


def importance(hyp: Hyp, t: int, terms: Terms) -> float:
    if terms.importance == "none":
        return 1.0
    if terms.level == "sequence":
        q = math.exp(sum(hyp.old)) / math.exp(sum(hyp.engine))
    else:
        q = math.exp(hyp.old[t]) / math.exp(hyp.engine[t])
    low, high = terms.bounds
    if terms.importance == "truncate":
        return min(q, high)
    return q if low <= q <= high else 0.0


def expected_errors(hyps: list[Hyp], terms: Terms) -> float:
    """Of one n-best list, in which a hypothesis stands once, or of all samples."""
    listed: list[Hyp] = []
    for hyp in hyps:
        if terms.mwer_form == "samples" or hyp.tokens not in [other.tokens for other in listed]:
            listed.append(hyp)
    unit = 1.0
    if terms.mwer_errors == "std" and len(listed) > 1:
        unit = statistics.stdev(hyp.errors for hyp in listed) + 1e-6
        if terms.mwer_scale:
            unit *= terms.mwer_scale * statistics.fmean(len(hyp.tokens) for hyp in listed)
    scales = [terms.mwer_scale or 1 / len(hyp.tokens) for hyp in listed]
    powers = [math.prod(math.exp(value) for value in hyp.now) ** k for hyp, k in zip(listed, scales, strict=True)]
    mean = sum(hyp.errors for hyp in listed) / len(listed)
    total = 0.0
    for hyp, power in zip(listed, powers, strict=True):
        weight = math.log(power) / len(listed) if terms.mwer_form == "samples" else power / sum(powers)
        total += weight * (hyp.errors - mean) / unit
    return total


def slopes(groups: list[Group], terms: Terms, step: float = 1e-6) -> list[float]:
    """d loss / d log p of each token that is kept, in order; old and engine stay what they are."""
    found = []
    for group in groups:
        for hyp in group.kept:
            for t in range(len(hyp.tokens)):
                sides = []
                for shift in (step, -step):
                    moved = replace(hyp, now=[v + shift * (i == t) for i, v in enumerate(hyp.now)])
                    sides.append(loss(swapped(groups, hyp, moved), terms))
                found.append((sides[0] - sides[1]) / (2 * step))
    return found


def swapped(groups: list[Group], hyp: Hyp, other: Hyp) -> list[Group]:
    def pick(one: Hyp) -> Hyp:
        return other if one is hyp else one

    return [Group([pick(one) for one in group.hyps]) for group in groups]


def kept(groups: list[Group], what: Callable[[Hyp], list[float]]) -> list[float]:
    """One of a hypothesis' lists, of all that is kept, flat."""
    return [value for group in groups for hyp in group.kept for value in what(hyp)]
