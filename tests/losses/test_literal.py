"""Every loss against its formula written out (literal.py), in float64: values, gradients, however the batch is cut.

Groups are ragged, with excluded hypotheses, equal hypotheses, groups without reward variance and groups without reward.
"""

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from arl.losses.batch import Totals
from arl.losses.importance import Correction
from arl.losses.registry import losses_on, make_loss
from arl.losses.settings import LossSettings
from arl.rewards.advantages import advantages
from arl.train import groups as training
from arl.train.step import MetricSums, importance_weights, make_micro_batch
from tests.losses import literal
from tests.losses.literal import Group, Hyp, Terms

ON_ROLLOUTS = losses_on("rollouts")
REWARDS = [None, 0.0, 0.5, 0.5, 1.0]
SHAPE = st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=4)  # tokens of each hypothesis, by group


def make_groups(shape: list[list[int]], seed: int, with_old: bool = True) -> list[Group]:
    """Random log-probabilities. Two letters only, so that equal hypotheses occur, with equal log-probabilities."""
    rng = random.Random(seed)
    made = []
    for lengths in shape:
        hyps: list[Hyp] = []
        for n in lengths:
            tokens = [rng.choice("ab") for _ in range(n)]
            twin = next((hyp for hyp in hyps if hyp.tokens == tokens), None)
            now = twin.now if twin else [rng.uniform(-3, 0) for _ in range(n)]
            near = [[value + rng.gauss(0, 0.3) for value in now] for _ in range(3)]
            near[0] = near[0] if with_old else list(now)
            hyps.append(Hyp(tokens, rng.choice(REWARDS), twin.errors if twin else rng.randrange(5), now, *near))
        made.append(Group(hyps))
    return made


def as_trained(groups: list[Group], terms: Terms) -> list[training.PromptGroup]:
    """What the trainer makes of them: excluded hypotheses are gone, and groups without any other."""
    kind = "mean" if terms.name == "dr_grpo" else "std"
    found = []
    for group in groups:
        values = advantages([hyp.reward for hyp in group.hyps], kind)
        if group.kept:
            found.append(
                training.PromptGroup(
                    key=str(len(found)),
                    prompt=torch.tensor([1]),
                    clips=[],
                    responses=[torch.tensor([ord(token) for token in hyp.tokens]) for hyp in group.kept],
                    advantages=[value for value in values if value is not None],
                    sampled=[tensor(hyp.engine) for hyp in group.kept] if terms.importance != "none" else [],
                    errors=[float(hyp.errors) for hyp in group.kept],
                )
            )
    return found


def settings_of(terms: Terms) -> LossSettings:
    """The same loss by the flags of `arl update`."""
    names = ("clip_low", "clip_high", "clip_dual", "beta", "kl", "kl_ratio", "divisor")
    names += ("mwer_form", "mwer_scale", "mwer_errors")
    flags: dict[str, Any] = {name: getattr(terms, name) for name in names}
    return LossSettings(loss=terms.name, **flags)


def tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def computed(groups: list[Group], terms: Terms, with_old: bool, cuts: set[int]) -> tuple[dict[str, float], Tensor]:
    """(metrics, d loss / d log p) by arl's loss, the batch cut behind the groups in `cuts`."""
    loss, batch = make_loss(settings_of(terms)), as_trained(groups, terms)
    columns = [tensor(literal.kept(groups, what)) for what in (lambda h: h.now, lambda h: h.old, lambda h: h.reference)]
    now = columns[0].requires_grad_()
    totals, sums = Totals(len(batch), sum(group.n_tokens for group in batch)), MetricSums()
    start = place = 0
    for index in range(len(batch)):
        if index + 1 < len(batch) and index not in cuts:
            continue
        micro, start = batch[start : index + 1], index + 1
        here = slice(place, place + sum(group.n_tokens for group in micro))
        place = here.stop
        before = columns[1][here]
        weights = None
        if terms.importance != "none":
            correction = Correction(terms.importance, *terms.bounds, terms.level)
            weights = importance_weights(micro, before, correction)[0]
        part = make_micro_batch(loss, micro, totals, now[here], before if with_old else None, columns[2][here], weights)
        value, metrics = loss(part)
        value.backward()
        sums.add(loss=float(value.detach()), **metrics)
    return sums.values, now.grad


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=SHAPE, seed=st.integers(0, 10**6), name=st.sampled_from(ON_ROLLOUTS), with_old=st.booleans(),
    clips=st.sampled_from([(0.2, 0.2), (0.1, 0.28), (3e-4, 4e-4)]), dual=st.sampled_from([0.0, 1.3]),
    beta=st.sampled_from([0.0, 0.3]), kl=st.sampled_from(["k1", "k2", "k3"]), kl_ratio=st.booleans(),
    importance=st.sampled_from(["none", "truncate", "mask"]), level=st.sampled_from(["token", "sequence"]),
    cuts=st.sets(st.integers(0, 3)),
    mwer=st.tuples(st.sampled_from(["list", "samples"]), st.sampled_from([0.0, 0.1, 1.0]),
                   st.sampled_from(["std", "count"])),
)  # fmt: skip
def test_every_loss_is_its_formula(
    shape, seed, name, with_old, clips, dual, beta, kl, kl_ratio, importance, level, cuts, mwer
):
    groups = make_groups(shape, seed, with_old)
    if not any(group.kept for group in groups):
        return
    importance = "none" if name == "mwer" else importance
    terms = Terms(name, *clips, dual, beta, kl, kl_ratio, 7.0, importance, (0.8, 1.2), level, *mwer)
    whole, gradient = computed(groups, terms, with_old, set())
    assert whole["loss"] == pytest.approx(literal.loss(groups, terms), rel=1e-10, abs=1e-12)
    assert gradient.tolist() == pytest.approx(literal.slopes(groups, terms), rel=1e-5, abs=1e-8)
    parts, again = computed(groups, terms, with_old, cuts)
    assert parts == pytest.approx(whole, rel=1e-10, abs=1e-12)
    torch.testing.assert_close(again, gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ON_ROLLOUTS)
def test_the_cases_are_not_all_trivial(name):
    """One dense case by loss: clipped, masked, with an equal pair, so that no branch above is tested on nothing."""
    groups = make_groups([[3, 2, 1, 1, 4], [1, 1, 1], [5, 2, 2]], seed=3)
    terms = Terms(name, beta=0.3, importance="none" if name == "mwer" else "mask", bounds=(0.8, 1.2))
    metrics, gradient = computed(groups, terms, True, {0})
    assert metrics["loss"] == pytest.approx(literal.loss(groups, terms), rel=1e-10)
    assert float(gradient.abs().max()) > 1e-3 and metrics["kl"] > 0
    if name == "mwer":
        assert metrics["distinct"] < 1 and metrics["expected_errors"] != pytest.approx(metrics["mean_errors"])
    else:
        assert 0 < metrics["clip_fraction"] < 1 and metrics["ratio_max"] > 1 and metrics["importance"] > 0
        assert metrics["clip_fraction"] == pytest.approx(metrics["clip_low"] + metrics["clip_high"])


LONG = [300 + 10 * place for place in range(6)]  # tokens of each hypothesis


def long_mwer(**flags: Any) -> tuple[dict[str, float], Tensor]:
    """(metrics, d loss / d log P(y) [6]) of long samples, five errors apart, whose log P(y) differ by tens."""
    rng = random.Random(1)
    rows = [[rng.uniform(-1.6, 0) for _ in range(n)] for n in LONG]
    hyps = [Hyp([chr(97 + place)] * len(row), 0.5, 5 * place, row, row, row, row) for place, row in enumerate(rows)]
    metrics, gradient = computed([Group(hyps)], Terms("mwer", **flags), False, set())
    return metrics, torch.stack([piece.sum() for piece in gradient.split(LONG)])


def test_the_papers_mwer_sees_one_or_two_of_long_hypotheses():
    assert long_mwer(mwer_scale=1.0, mwer_errors="count")[0]["list_size"] < 2


@pytest.mark.parametrize("flags", [{}, {"mwer_scale": 0.01}, {"mwer_form": "samples"}])
def test_mwer_on_long_hypotheses_has_a_gradient_like_that_of_grpo(flags):
    metrics, slope = long_mwer(**flags)
    grpo = (torch.arange(6.0) - 2.5).double() / torch.arange(6.0).std() / 6  # A / G, for reward −W
    assert metrics["list_size"] > 4
    assert float(torch.cosine_similarity(slope, grpo, dim=0)) > 0.9
    assert 0.7 < float(slope.norm() / grpo.norm()) < 1.4


@pytest.mark.parametrize("name", ON_ROLLOUTS)
def test_groups_without_reward_variance_teach_nothing_but_count(name):
    spread, flat = make_groups([[3, 2, 4], [2, 3]], seed=1)
    for reward, hyp in zip((0.0, 1.0, 0.5), spread.hyps, strict=True):
        hyp.reward = reward
    for hyp in flat.hyps:
        hyp.reward, hyp.errors = 0.5, 2
    terms = Terms(name)
    alone, slope = computed([spread], terms, True, set())
    both, slopes = computed([spread, flat], terms, True, set())
    assert not slopes[len(slope) :].any()
    share = 9 / 14 if name == "dapo" else 1 / 2  # of the tokens, or of the groups
    torch.testing.assert_close(slopes[: len(slope)], share * slope, rtol=1e-12, atol=0)
    assert both["loss"] == pytest.approx(share * alone["loss"], rel=1e-12)
