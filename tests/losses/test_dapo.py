"""The token-mean aggregation against its formula, on ragged groups."""

import pytest
import torch

from arl.losses.batch import Totals
from arl.losses.dapo import Dapo
from arl.losses.grpo import Grpo
from arl.losses.micro_batch import MicroBatch

LENGTHS = [[3, 1, 7], [2, 2], [5]]  # tokens of each hypothesis, by group
TOTALS = Totals(groups=3, tokens=20)


def literal(sequence_mean: bool, log_probs, old, advantages) -> float:
    """The two objectives by their formulas, one hypothesis after the other; clip 0.2 and 0.28 as in either paper."""
    total, start = 0.0, 0
    for group in LENGTHS:
        for n in group:
            part = slice(start, start + n)
            start += n
            ratio = (log_probs[part] - old[part]).exp()
            high = 1.2 if sequence_mean else 1.28
            terms = torch.minimum(ratio * advantages[part], ratio.clamp(0.8, high) * advantages[part])
            total += float(terms.mean() / len(group) / len(LENGTHS)) if sequence_mean else float(terms.sum() / 20)
    return -total


@pytest.mark.parametrize(("loss", "sequence_mean"), [(Grpo(beta=0.0), True), (Dapo(beta=0.0), False)])
def test_the_loss_is_its_formula_however_the_batch_is_cut(loss: Grpo, sequence_mean: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    log_probs, old = (torch.randn(20, generator=generator, dtype=torch.float64) for _ in range(2))
    advantages = torch.repeat_interleave(
        torch.randn(6, generator=generator, dtype=torch.float64), torch.tensor([n for g in LENGTHS for n in g])
    )
    whole = loss(MicroBatch(log_probs, old, None, advantages, loss.token_weights(LENGTHS, TOTALS)))[0]
    assert float(whole) == pytest.approx(literal(sequence_mean, log_probs, old, advantages), rel=1e-12)
    parts, start = 0.0, 0
    for group in LENGTHS:
        part = slice(start, start + sum(group))
        start += sum(group)
        weights = loss.token_weights([group], TOTALS)
        parts += float(loss(MicroBatch(log_probs[part], old[part], None, advantages[part], weights))[0])
    assert parts == pytest.approx(float(whole), rel=1e-12)
    assert float(loss.token_weights(LENGTHS, TOTALS).sum()) == pytest.approx(1.0)
