"""Differentiable reward optimisation: equations 5-6 of arXiv 2509.18569 (from arXiv 2507.05911).

A recogniser over acoustic tokens (or another head, heads.py) reads the policy's own samples as one-hots

    ỹ_t = onehot(o_t) + y_t − sg(y_t),     y_t = softmax((l_t + g_t) / τ),

l_t: log-softmax over the codebook at the t-th acoustic token o_t, g_t: Gumbel noise; and its reward
R = log P(text | ỹ) / letters has a gradient in every entry of l_t. Minimised:

    −mean R + β·KL,     KL = Σ_c p(c)·(log p(c) − log p_ref(c)) over the codebook, exactly.

The mean of R is over the batch's hypotheses that have a reward, that of the KL over groups, hypotheses and acoustic
tokens. The noise is conditioned on its maximum being the sampled token (gumbel.py), so that what is rewarded is what
was sampled; `fresh` noise, the papers' letter, rewards another token at each place than the next one was given.
Advantages say only which hypotheses are excluded. Left out: sampling on from the new tokens, one forward pass per
token; a gradient for the stop token, which is not of the codebook: watch `stop` and `length`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arl.losses.batch import Lengths, Totals
from arl.losses.gumbel import conditioned, draw, straight_through
from arl.losses.heads import Weighted
from arl.losses.part import Part, SpeechLoss, sequence_mean
from arl.losses.speech import Codebook, Speech, Spoken


@dataclass(frozen=True)
class Diffro(SpeechLoss):
    """heads: R is their weighted sum. codebook: the policy's. beta: weight of the KL; 0 needs no reference. tau: of the
    softmax. gumbel: `sampled` (noise conditioned on the sampled token) or `fresh`."""

    heads: Sequence[Weighted]
    codebook: Codebook
    beta: float = 0.1
    tau: float = 1.0
    gumbel: str = "sampled"

    def hypothesis_weights(self, batch: Sequence[Spoken]) -> list[float]:
        """1 / their number for all that every head can reward."""
        return even_weights([self.fits(hypothesis) for hypothesis in batch])

    def fits(self, hypothesis: Spoken) -> bool:
        return all(head.fits(hypothesis.codes, hypothesis.text) for head in self.heads)

    def token_weights(self, lengths: Lengths, batch: Totals) -> Tensor:
        """Of what is logged by token, float64 [N]: as in `Grpo`."""
        return sequence_mean(lengths, batch)

    def token_shares(self, lengths: Lengths, batch: Totals) -> Tensor:
        return self.token_weights(lengths, batch)

    def __call__(self, part: Part) -> tuple[Tensor, dict[str, float]]:
        objective, metrics = self.mean_reward(part)
        kl, more = mean_kl(part)
        return self.beta * kl - objective, metrics | more

    def mean_reward(self, part: Part) -> tuple[Tensor, dict[str, float]]:
        """(this part's share of the mean reward, metrics)."""
        speech = speech_of(part)
        metrics = {"diffro_share": len(speech.chosen) / part.totals.hypotheses, **part.means(stop=speech.stop)}
        if not speech.chosen:
            return 0.0 * speech.log_probs.sum(), metrics
        total, by_head = self.rewards(speech)
        shares = torch.tensor([speech.weights[place] for place in speech.chosen], dtype=torch.float64).to(total)
        logged = {"reward": total, **(by_head if len(by_head) > 1 else {})}
        metrics |= {f"diffro_{name}": float((shares * values.detach()).sum()) for name, values in logged.items()}
        return (shares * total).sum(), metrics

    def rewards(self, speech: Speech) -> tuple[Tensor, dict[str, Tensor]]:
        """(R, and each head's) of the chosen hypotheses, [B]."""
        hypotheses = [speech.hypotheses[place] for place in speech.chosen]
        counts, texts = [hypothesis.codes for hypothesis in hypotheses], [hypothesis.text for hypothesis in hypotheses]
        onehots = self.onehots(speech.log_probs[speech.rows], speech.codes[speech.rows], hypotheses)
        padded = nn.utils.rnn.pad_sequence(list(onehots.split(counts)), True)
        lengths = torch.tensor(counts, device=padded.device)
        by_head = {head.name: head.rewards(padded, lengths, texts) for head in self.heads}
        return torch.stack([head.weight * by_head[head.name] for head in self.heads]).sum(0), by_head

    def onehots(self, log_probs: Tensor, codes: Tensor, hypotheses: Sequence[Spoken]) -> Tensor:
        """ỹ [m, C] of some hypotheses' acoustic tokens."""
        counts, seeds = [hypothesis.codes for hypothesis in hypotheses], [hypothesis.seed for hypothesis in hypotheses]
        drawn = draw(counts, seeds, log_probs)
        if self.gumbel == "sampled":
            noise = conditioned(log_probs, codes, drawn)
        else:
            noise = drawn[:, 1:]
            codes = (log_probs.detach() + noise).argmax(-1)
        return straight_through(log_probs, noise, codes, self.tau)


def speech_of(part: Part) -> Speech:
    if part.speech is None:
        raise ValueError("this loss needs the acoustic tokens of its part")
    return part.speech


def mean_kl(part: Part) -> tuple[Tensor | float, dict[str, float]]:
    """This part's share of the mean exact KL over the codebook, and its metric; (0, {}) without a reference."""
    speech = speech_of(part)
    if speech.reference is None:
        return 0.0, {}
    kl = (speech.token_weights(part.lengths, part.totals) * speech.kl(speech.reference)).sum()
    return kl, {"kl_codes": float(kl.detach())}


def even_weights(chosen: Sequence[bool]) -> list[float]:
    """1 / the number of those chosen, 0 for the others."""
    return [1.0 / sum(chosen) if is_chosen else 0.0 for is_chosen in chosen]
