"""Codes → mel spectrogram: CosyVoice2's flow (arXiv 2412.10117, section 2.3), with flow.pt's names.

The encoder gives each mel frame its mean; from noise, an Euler solver follows the estimator's velocities to the mel,
guided without a classifier. The voice's codes and mel go in front, so that what follows sounds like it. Attention sees
all frames, as upstream's does when it does not stream. Left out: streaming.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from arl.models.cosyvoice2.conformer import UP, Encoder, EncoderSizes
from arl.models.cosyvoice2.estimator import N_MELS, Estimator, EstimatorSizes


class Decoder(nn.Module):
    """Where flow.pt has the estimator."""

    def __init__(self, sizes: EstimatorSizes) -> None:
        super().__init__()
        self.estimator = Estimator(sizes)


class Flow(nn.Module):
    """Frozen. n_codes: of the speech tokenizer; speaker_dim: of the voices' vectors."""

    def __init__(self, n_codes: int, speaker_dim: int, encoder: EncoderSizes, estimator: EstimatorSizes) -> None:
        super().__init__()
        self.input_embedding = nn.Embedding(n_codes, encoder.width)
        self.spk_embed_affine_layer = nn.Linear(speaker_dim, N_MELS)
        self.encoder, self.encoder_proj = Encoder(encoder), nn.Linear(encoder.width, N_MELS)
        self.decoder = Decoder(estimator)

    @classmethod
    def of(cls, recipe: dict[str, Any]) -> "Flow":
        """Of the recipe's sizes. KeyError or TypeError for one that is not CosyVoice2's."""
        flow = recipe["flow"]
        encoder, estimator = flow["encoder"], flow["decoder"]["estimator"]
        (channels,) = estimator["channels"]
        return cls(
            flow["vocab_size"],
            flow["spk_embed_dim"],
            EncoderSizes(
                encoder["output_size"], encoder["attention_heads"], encoder["linear_units"], encoder["num_blocks"],
                flow["pre_lookahead_len"],
            ),
            EstimatorSizes(
                channels, estimator["num_heads"], estimator["attention_head_dim"], estimator["n_blocks"],
                estimator["num_mid_blocks"],
            ),
        )  # fmt: skip

    @torch.no_grad()
    def sample(
        self, codes: Sequence[Tensor], prompts: Sequence[Tensor], speakers: Tensor, noises: Sequence[Tensor],
        nfe: int = 10, cfg: float = 0.7,
    ) -> list[Tensor]:  # fmt: skip
        """Mels [80, 2 n] of B clips, without their voices' part.

        codes: int64 [p + n] each, the voice's p first; prompts: the voices' mels [2 p, 80]; speakers [B, S]; noises:
        float32 [2 (p + n), 80] each. nfe: steps of the solver; cfg: strength of the guidance, 0 is off.
        """
        device = self.input_embedding.weight.device
        lengths = torch.tensor([len(row) for row in codes], device=device)
        states, valid = self.encoder(self.input_embedding(pad_sequence(list(codes), True).to(device)), lengths)
        longest = valid.shape[1]
        mean = (self.encoder_proj(states) * valid[..., None]).transpose(1, 2)
        voice = self.spk_embed_affine_layer(F.normalize(speakers.to(device), dim=1))
        known, path = (
            torch.stack([F.pad(row.to(device), (0, 0, 0, longest - len(row))) for row in rows]).transpose(1, 2)
            for rows in (prompts, noises)
        )
        conditions = torch.cat([mean, voice[..., None].expand(-1, -1, longest), known], 1)
        found = self.solve(path, conditions, valid, nfe, cfg)
        ends = (UP * lengths).tolist()
        return [mel[:, len(prompt) : end] for mel, prompt, end in zip(found, prompts, ends, strict=True)]

    def solve(self, path: Tensor, conditions: Tensor, valid: Tensor, nfe: int, cfg: float) -> Tensor:
        """From noise [B, 80, T] to mels [B, 80, T], in steps that grow as a cosine's."""
        times = 1 - torch.cos(torch.linspace(0, 1, nfe + 1, device=path.device) * 0.5 * torch.pi)
        both = torch.cat([conditions, torch.zeros_like(conditions)]) if cfg else conditions
        valids = torch.cat([valid, valid]) if cfg else valid
        for now, then in zip(times[:-1], times[1:], strict=True):
            inputs = torch.cat([torch.cat([path, path]) if cfg else path, both], 1)
            velocity = self.decoder.estimator(inputs, valids, now.expand(len(inputs))).float()
            if cfg:
                guided, free = velocity.chunk(2)
                velocity = (1 + cfg) * guided - cfg * free
            path = path + (then - now) * velocity
        return path
