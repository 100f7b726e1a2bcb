"""Supervised training of the projector: feature masking and the auxiliary CTC loss.

Only `arl update --loss sft` on feature shards uses this; reinforcement learning never changes the frontend.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arl.train.groups import PromptGroup

MASKS, MASK_FRAMES, NOISE = 2, 10, 0.3


class Frontend(Protocol):
    """A model family's frontend whose projector can be trained, as the family loads it (arl/models/).

    projector: a torch module with `stack`, the features [T, D] of one embedding, and for --ctc `ctc`, H → V.
    """

    projector: Any

    def to(self, device: torch.device) -> Self: ...

    def project(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Per clip features [T, D] → embeddings [T / stack, H], differentiable while the projector is in training."""

    def digest(self) -> str:
        """Names the embeddings: equal digests give equal embeddings for equal audio."""

    def save(self, folder: Path) -> None:
        """Writes the files of a policy's `frontend/`."""


def augment(features: Tensor, stack: int, generator: torch.Generator) -> Tensor:
    """[T, D] → [T', D]: a random start within one stack, two masked spans of up to 10 frames, noise of random level."""

    def below(n: int) -> int:
        return int(torch.randint(n, (1,), generator=generator))

    changed = features[below(stack) :].float().clone()
    for _ in range(MASKS):
        width = below(MASK_FRAMES + 1)
        start = below(max(1, len(changed) - width))
        changed[start : start + width] = 0
    level = NOISE * float(torch.rand(1, generator=generator))
    return changed + level * torch.randn(changed.shape, generator=generator)


def ctc_loss(projector: nn.Module, clips: Sequence[Tensor], groups: Sequence[PromptGroup]) -> Tensor:
    """Connectionist temporal classification (Graves 2006) of the transcript's tokens from the embeddings, the mean over
    utterances of the loss per token.

    The blank is the padding token 0; the stop token is left out of the labels.
    """
    logits = nn.utils.rnn.pad_sequence([projector.ctc(clip).float() for clip in clips])  # [T, B, V]
    labels = [group.responses[0][:-1] for group in groups]
    return F.ctc_loss(
        logits.log_softmax(-1), torch.cat(labels).to(logits.device), torch.tensor([len(clip) for clip in clips]),
        torch.tensor([len(label) for label in labels]), blank=0, zero_infinity=True,
    )  # fmt: skip
