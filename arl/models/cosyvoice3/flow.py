"""CosyVoice3's flow (arXiv 2505.17589): embedded codes are the means, a diffusion transformer gives the velocities."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from arl.models.cosyvoice import flow
from arl.models.cosyvoice.flow import N_MELS, UP, LookAhead, inside
from arl.models.cosyvoice3.dit import Dit, DitSizes


class Flow(flow.Flow):
    """n_codes: of the speech tokenizer; speaker_dim: of the voices' vectors; inner, ahead: width of the convolutions
    that look ahead, and codes that they see."""

    def __init__(self, n_codes: int, speaker_dim: int, inner: int, ahead: int, estimator: DitSizes) -> None:
        super().__init__(n_codes, N_MELS, speaker_dim, Dit(estimator))
        self.pre_lookahead_layer = LookAhead(N_MELS, inner, ahead)

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> "Flow":
        """Of the recipe's sizes. KeyError, TypeError or ValueError for one that is not CosyVoice3's."""
        sizes = recipe["flow"]
        ahead, estimator = sizes["pre_lookahead_layer"], sizes["decoder"]["estimator"]
        if (sizes["input_size"], ahead["in_channels"], sizes["token_mel_ratio"]) != (N_MELS, N_MELS, UP):
            raise ValueError(f"codes are embedded in {N_MELS} channels, {UP} frames each")
        return cls(
            sizes["vocab_size"], sizes["spk_embed_dim"], ahead["channels"], ahead["pre_lookahead_len"],
            DitSizes(
                estimator["dim"], estimator["heads"], estimator["dim_head"], estimator["depth"], estimator["ff_mult"]
            ),
        )  # fmt: skip

    def means(self, x: Tensor, lengths: Tensor) -> Tensor:
        valid = inside(lengths, x.shape[1])
        return self.pre_lookahead_layer(x * valid[..., None]).repeat_interleave(UP, 1)
