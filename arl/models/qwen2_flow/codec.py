"""The speech tokenizer: log-mel → 25 codes a second, by finite scalar quantisation inside a small recogniser.

CosyVoice2's kind of tokenizer (arXiv 2412.10117, section 2.1): an encoder trained to recognise speech, quantised in the
middle, so that the codes carry what was said. Finite scalar quantisation (arXiv 2309.15505): each of `dims` numbers is
rounded to one of `levels` steps, straight-through, and a code is their place in the grid: levels**dims codes, no
codebook to collapse. A second head gives back the mel spectrogram, so that how it was said is not thrown away.

Padding is masked in every layer: a batch gives what its clips give alone. Left out: training (codec_train.py).
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from arl.errors import ArlError
from arl.models.block import Block
from arl.models.qwen2_flow.mel import FRAMES_PER_CODE, N_MELS
from arl.models.token_asr.letters import N_LABELS
from arl.models.weights import fill, made_of, read_weights

CTC_RATE = 2  # recognition steps per code: fast speech has more characters than codes


class Fsq(nn.Module):
    """Finite scalar quantisation with an odd number of levels per dimension."""

    def __init__(self, levels: int = 3, dims: int = 6) -> None:
        super().__init__()
        if levels < 3 or levels % 2 == 0:
            raise ArlError(f"finite scalar quantisation with {levels} levels: an odd number from 3 on")
        self.levels, self.dims = levels, dims
        self.register_buffer("places", levels ** torch.arange(dims), persistent=False)

    @property
    def n_codes(self) -> int:
        return self.levels**self.dims

    def forward(self, x: Tensor) -> Tensor:
        """[..., dims] → the rounded steps, integers in ±(levels − 1) / 2, with the gradient of the bounded value."""
        bounded = x.tanh() * (self.levels - 1) / 2
        return bounded + (bounded.round() - bounded).detach()

    def codes(self, steps: Tensor) -> Tensor:
        """Steps [..., dims] → int64 [...] in 0 … n_codes − 1."""
        return ((steps.round().long() + (self.levels - 1) // 2) * self.places).sum(-1)

    def steps(self, codes: Tensor) -> Tensor:
        """The other way: int64 [...] → [..., dims]."""
        return (codes[..., None] // self.places % self.levels - (self.levels - 1) // 2).float()


class Codec(nn.Module):
    """before: layers in front of the codes; after: behind them. Where a clip ends the convolutions' depth gives places
    their order: there are no position embeddings."""

    def __init__(
        self, width: int = 192, heads: int = 4, before: int = 4, after: int = 2, levels: int = 3, dims: int = 6
    ) -> None:
        super().__init__()
        self.config = {
            "width": width, "heads": heads, "before": before, "after": after, "levels": levels, "dims": dims,
        }  # fmt: skip
        self.stem = nn.Conv1d(N_MELS, width, 5, padding=2)
        self.halve = nn.Conv1d(width, width, 4, stride=FRAMES_PER_CODE, padding=1)
        self.before = nn.ModuleList(Block(width, heads) for _ in range(before))
        self.to_steps = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dims))
        self.fsq = Fsq(levels, dims)
        self.from_steps = nn.Linear(dims, width)
        self.after = nn.ModuleList(Block(width, heads) for _ in range(after))
        self.ctc = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, CTC_RATE * N_LABELS))
        self.mel = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, FRAMES_PER_CODE * N_MELS))

    def quantise(self, mels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """mels float32 [B, 2T, 80], lengths int64 [B] in codes → (steps [B, T, dims], valid bool [B, T, 1])."""
        valid = self.valid(lengths, mels.shape[1] // FRAMES_PER_CODE)
        frames = valid.repeat_interleave(FRAMES_PER_CODE, 1)
        x = F.gelu(self.stem((mels * frames).transpose(1, 2))) * frames.transpose(1, 2)
        x = F.gelu(self.halve(x)).transpose(1, 2)
        for block in self.before:
            x = block(x, valid)
        return self.fsq(self.to_steps(x)), valid

    def heads_of(self, steps: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """(log-probabilities of characters [B, 2T, 1 + 28], mels [B, 2T, 80]) from steps [B, T, dims]."""
        x = self.from_steps(steps)
        for block in self.after:
            x = block(x, valid)
        batch, length, _ = x.shape
        log_probs = self.ctc(x).view(batch, CTC_RATE * length, -1).log_softmax(-1)
        return log_probs, self.mel(x).view(batch, FRAMES_PER_CODE * length, N_MELS)

    @staticmethod
    def valid(lengths: Tensor, longest: int) -> Tensor:
        return (torch.arange(longest, device=lengths.device) < lengths[:, None])[..., None]

    @torch.no_grad()
    def encode(self, mels: list[Tensor]) -> list[Tensor]:
        """Log-mels [2T_i, 80] → codes int64 [T_i]."""
        lengths = torch.tensor([len(mel) // FRAMES_PER_CODE for mel in mels])
        padded = nn.utils.rnn.pad_sequence(
            [mel[: FRAMES_PER_CODE * n] for mel, n in zip(mels, lengths, strict=True)], True
        )
        device = self.stem.weight.device
        steps, _ = self.quantise(padded.to(device), lengths.to(device))
        codes = self.fsq.codes(steps).cpu()
        return [row[:n] for row, n in zip(codes, lengths.tolist(), strict=True)]


class Draft(nn.Module):
    """The tokenizer's way back from codes to mels, frozen: blurred, as it was trained on the mean absolute error, but
    right about what is said. The flow starts from it (flow.py)."""

    def __init__(self, width: int, heads: int, layers: int, levels: int, dims: int) -> None:
        super().__init__()
        self.config = {"width": width, "heads": heads, "layers": layers, "levels": levels, "dims": dims}
        self.fsq = Fsq(levels, dims)
        self.from_steps = nn.Linear(dims, width)
        self.after = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.mel = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, FRAMES_PER_CODE * N_MELS))
        self.requires_grad_(False)
        for block in self.after:
            block.dropout.p = 0.0  # also while the flow around it trains

    @staticmethod
    def of(codec: Codec) -> "Draft":
        config = codec.config
        draft = Draft(config["width"], config["heads"], config["after"], config["levels"], config["dims"])
        draft.load_state_dict({name: codec.state_dict()[name] for name in draft.state_dict()})
        return draft

    def forward(self, codes: Tensor, lengths: Tensor) -> Tensor:
        """Codes int64 [B, n], of which lengths int64 [B] count → log-mel [B, 2 n, 80], anything outside."""
        x, valid = self.from_steps(self.fsq.steps(codes)), Codec.valid(lengths, codes.shape[1])
        for block in self.after:
            x = block(x, valid)
        return self.mel(x).view(len(codes), -1, N_MELS)


def save(codec: Codec, folder: Path) -> None:
    """Writes codec.json and codec.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "codec.json").write_text(json.dumps(codec.config, indent=1, sort_keys=True) + "\n")
    save_file(codec.state_dict(), folder / "codec.safetensors")


def load(folder: Path) -> Codec:
    """Reads what `save` wrote, in evaluation mode. ArlError for a missing or mismatching file."""
    config, weights = folder / "codec.json", folder / "codec.safetensors"
    if not config.is_file() or not weights.is_file():
        raise ArlError(f"{folder}: no codec.json and codec.safetensors: this policy cannot tokenise speech")
    codec = made_of(config, "a codec's sizes", lambda sizes: Codec(**sizes))
    fill(codec, {name: tensor.float() for name, tensor in read_weights(weights).items()}, weights, config)
    return codec.requires_grad_(False).eval()
