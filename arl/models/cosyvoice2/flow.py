"""CosyVoice2's flow (arXiv 2412.10117, section 2.3): a conformer gives the means, a U-Net the velocities."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from arl.models.cosyvoice import flow
from arl.models.cosyvoice.flow import N_MELS
from arl.models.cosyvoice2.conformer import Encoder, EncoderSizes
from arl.models.cosyvoice2.estimator import Estimator, EstimatorSizes


class Flow(flow.Flow):
    """n_codes: of the speech tokenizer; speaker_dim: of the voices' vectors."""

    def __init__(self, n_codes: int, speaker_dim: int, encoder: EncoderSizes, estimator: EstimatorSizes) -> None:
        super().__init__(n_codes, encoder.width, speaker_dim, Estimator(estimator))
        self.encoder, self.encoder_proj = Encoder(encoder), nn.Linear(encoder.width, N_MELS)

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> "Flow":
        """Of the recipe's sizes. KeyError or TypeError for one that is not CosyVoice2's."""
        sizes = recipe["flow"]
        encoder, estimator = sizes["encoder"], sizes["decoder"]["estimator"]
        (channels,) = estimator["channels"]
        return cls(
            sizes["vocab_size"],
            sizes["spk_embed_dim"],
            EncoderSizes(
                encoder["output_size"], encoder["attention_heads"], encoder["linear_units"], encoder["num_blocks"],
                sizes["pre_lookahead_len"],
            ),
            EstimatorSizes(
                channels, estimator["num_heads"], estimator["attention_head_dim"], estimator["n_blocks"],
                estimator["num_mid_blocks"],
            ),
        )  # fmt: skip

    def means(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.encoder_proj(self.encoder(x, lengths))
