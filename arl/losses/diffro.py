"""Differentiable reward optimisation: equations 5-6 of arXiv 2509.18569 (from arXiv 2507.05911).

A recogniser over acoustic tokens (or another head, heads.py) reads the policy's own samples as one-hots

    ỹ_t = onehot(o_t) + y_t − sg(y_t),     y_t = softmax((l_t + g_t) / τ),

l_t: log-softmax over the codebook at the t-th acoustic token o_t, g_t: Gumbel noise; and its reward
R = log P(text | ỹ) / letters has a gradient in every entry of l_t. Minimised:

    −mean R + β·KL,     KL = Σ_c p(c)·(log p(c) − log p_ref(c)) over the codebook, exactly.

The mean of R is over the batch's hypotheses that have a reward, that of the KL over groups, hypotheses and acoustic
tokens. The noise is conditioned on its maximum being the sampled token (gumbel.py), so that what is rewarded is what
was sampled; `fresh`, the papers' unconditioned noise, rewards another token at each step than the one that the next
step was conditioned on. Advantages say only which hypotheses are excluded. Left out: sampling on from the new tokens,
one forward pass per token; a gradient for the stop token, which is not of the codebook: watch `stop` and `length`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arl.losses.acoustic import AcousticBatch, AcousticHypothesis, Codebook, CodeLogits, pieces, recomputed
from arl.losses.batch import Lengths, Totals
from arl.losses.gumbel import conditioned, draw, straight_through
from arl.losses.heads import WeightedHead
from arl.losses.micro_batch import AcousticLoss, MicroBatch, sequence_mean
from arl.losses.settings import AcousticSettings, GumbelNoise, LossSettings
from arl.losses.spec import NO_IMPORTANCE, AcousticInputs, LossSpec


@dataclass(frozen=True)
class Diffro(AcousticLoss):
    """heads: R is their weighted sum. codebook: the policy's. beta: weight of the KL; 0 needs no reference. tau: of the
    softmax. gumbel: `sampled` (noise conditioned on the sampled token) or `fresh`."""

    heads: Sequence[WeightedHead]
    codebook: Codebook
    beta: float = 0.1
    tau: float = 1.0
    gumbel: GumbelNoise = "sampled"

    def hypothesis_weights(self, batch: Sequence[AcousticHypothesis]) -> list[float]:
        """1 / their number for all that every head can reward."""
        return even_weights([self.fits(hypothesis) for hypothesis in batch])

    def fits(self, hypothesis: AcousticHypothesis) -> bool:
        return all(head.fits(hypothesis.codes, hypothesis.text) for head in self.heads)

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """Of what is logged by token, float64 [N]: as in `Grpo`."""
        return sequence_mean(lengths, totals)

    def metric_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        return self.token_weights(lengths, totals)

    def __call__(self, micro: MicroBatch) -> tuple[Tensor, dict[str, float]]:
        objective, metrics = self.mean_reward(micro)
        kl, more = mean_kl(micro)
        return self.beta * kl - objective, metrics | more

    def mean_reward(self, micro: MicroBatch) -> tuple[Tensor, dict[str, float]]:
        """(this micro-batch's term of the mean reward, metrics)."""
        acoustic = acoustic_of(micro)
        metrics = {"diffro_share": len(acoustic.chosen) / micro.totals.hypotheses, **micro.means(stop=acoustic.stop)}
        if not acoustic.chosen:
            return 0.0 * acoustic.policy.hidden.sum(), metrics
        total, by_head = self.rewards(acoustic)
        weights = torch.tensor([acoustic.weights[index] for index in acoustic.chosen], dtype=torch.float64).to(total)
        logged = {"reward": total, **(by_head if len(by_head) > 1 else {})}
        metrics |= {f"diffro_{name}": float((weights * values.detach()).sum()) for name, values in logged.items()}
        return (weights * total).sum(), metrics

    def rewards(self, acoustic: AcousticBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """(R, and each head's) of the chosen hypotheses, [their number]."""
        chosen = [acoustic.hypotheses[index] for index in acoustic.chosen]
        counts, texts = [hypothesis.codes for hypothesis in chosen], [hypothesis.text for hypothesis in chosen]
        cut = pieces(counts, self.codebook.size)
        sizes = [sum(counts[piece]) for piece in cut]
        logits, codes = acoustic.policy.at(acoustic.chosen_tokens), acoustic.codes[acoustic.chosen_tokens]
        tables = [head.table() for head in self.heads]
        read = [
            recomputed(self.read, here, of_here, chosen[piece], tables)
            for here, of_here, piece in zip(logits.split(sizes), codes.split(sizes), cut, strict=True)
        ]
        lengths, by_head = torch.tensor(counts, device=codes.device), {}
        for head, rows in zip(self.heads, zip(*read, strict=True), strict=True):
            by_hypothesis = [own for here, piece in zip(rows, cut, strict=True) for own in here.split(counts[piece])]
            by_head[head.name] = head.rewards(nn.utils.rnn.pad_sequence(by_hypothesis, True), lengths, texts)
        return torch.stack([head.weight * by_head[head.name] for head in self.heads]).sum(0), by_head

    def read(
        self, logits: CodeLogits, codes: Tensor, hypotheses: Sequence[AcousticHypothesis],
        tables: Sequence[Tensor | None],
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """What each head reads of some hypotheses: ỹ times its table [m, W], or ỹ [m, C] where it has none."""
        onehots = self.onehots(logits.log_probs(), codes, hypotheses)
        return tuple(onehots if table is None else onehots @ table for table in tables)

    def onehots(self, log_probs: Tensor, codes: Tensor, hypotheses: Sequence[AcousticHypothesis]) -> Tensor:
        """ỹ [m, C] of some hypotheses' acoustic tokens."""
        counts, seeds = [hypothesis.codes for hypothesis in hypotheses], [hypothesis.seed for hypothesis in hypotheses]
        drawn = draw(counts, seeds, log_probs)
        if self.gumbel == "sampled":
            noise = conditioned(log_probs, codes, drawn)
        else:
            noise = drawn[:, 1:]
            codes = (log_probs.detach() + noise).argmax(-1)
        return straight_through(log_probs, noise, codes, self.tau)


def acoustic_of(micro: MicroBatch) -> AcousticBatch:
    if micro.acoustic is None:
        raise ValueError("this loss needs its micro-batch's acoustic tokens")
    return micro.acoustic


def mean_kl(micro: MicroBatch) -> tuple[Tensor | float, dict[str, float]]:
    """This micro-batch's term of the mean exact KL over the codebook, and its metric; (0, {}) without a reference."""
    acoustic = acoustic_of(micro)
    if acoustic.reference is None:
        return 0.0, {}
    kl = (acoustic.token_weights(micro.lengths, micro.totals) * acoustic.kl(acoustic.reference)).sum()
    return kl, {"kl_codes": float(kl.detach())}


def even_weights(chosen: Sequence[bool]) -> list[float]:
    """1 / the number of those chosen, 0 for the others."""
    return [1.0 / sum(chosen) if is_chosen else 0.0 for is_chosen in chosen]


def make(settings: LossSettings, acoustic: AcousticInputs) -> Diffro:
    own = settings.acoustic or AcousticSettings()
    return Diffro(acoustic.heads, acoustic.codebook, settings.beta, own.tau, own.gumbel)


LOSS = LossSpec(Diffro, make, trains_on="acoustic rollouts", refuses={"importance": NO_IMPORTANCE})
