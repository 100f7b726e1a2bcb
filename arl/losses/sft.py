"""Supervised fine-tuning: cross-entropy of the reference transcript (teacher forcing), mean over the batch's tokens.

The caller's per-token weights hold the mean, so that the loss does not depend on the micro-batch size.
"""

from torch import Tensor


def sft(log_probs: Tensor, weights: Tensor) -> Tensor:
    """[N] log-probabilities of the reference tokens, [N] weights that sum to 1 over the batch → scalar, in nats."""
    return -(weights * log_probs).sum()
