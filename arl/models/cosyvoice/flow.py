"""Codes → mel spectrogram by flow matching: what the flows of both versions have in common, with flow.pt's names.

An encoder gives each mel frame its mean; from noise, an Euler solver follows the estimator's velocities to the mel,
guided without a classifier. The voice's codes and mel go in front, so that what follows sounds like it. Attention sees
all frames, as upstream's does when it does not stream. Left out: streaming.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

UP = 2  # mel frames per code
N_MELS = 80
INPUT = 4 * N_MELS  # of an estimator: path, mean, speaker, prompt


class Decoder(nn.Module):
    """Where flow.pt has the estimator: (x [B, 320, T], valid bool [B, T], t [B]) → velocities [B, 80, T]."""

    def __init__(self, estimator: nn.Module) -> None:
        super().__init__()
        self.estimator = estimator


class Flow(nn.Module):
    """Frozen. n_codes: of the speech tokenizer; width: of their embeddings; speaker_dim: of the voices' vectors."""

    def __init__(self, n_codes: int, width: int, speaker_dim: int, estimator: nn.Module) -> None:
        super().__init__()
        self.input_embedding = nn.Embedding(n_codes, width)
        self.spk_embed_affine_layer = nn.Linear(speaker_dim, N_MELS)
        self.decoder = Decoder(estimator)

    def means(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Embedded codes [B, n, W], of which lengths int64 [B] count → each frame's mean [B, 2 n, 80]."""
        raise NotImplementedError

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
        states = self.means(self.input_embedding(pad_sequence(list(codes), True).to(device)), lengths)
        longest = states.shape[1]
        valid = inside(UP * lengths, longest)
        mean = (states * valid[..., None]).transpose(1, 2)
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


def inside(lengths: Tensor, longest: int) -> Tensor:
    """Bool [B, longest], True below each length."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


class LookAhead(nn.Module):
    """[B, n, W] → same: a convolution over what follows, one over what precedes, added. inner: width between them."""

    def __init__(self, width: int, inner: int, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead
        self.conv1, self.conv2 = nn.Conv1d(width, inner, ahead + 1), nn.Conv1d(inner, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.leaky_relu(self.conv1(F.pad(x.transpose(1, 2), (0, self.ahead))))
        return x + self.conv2(F.pad(inner, (2, 0))).transpose(1, 2)
