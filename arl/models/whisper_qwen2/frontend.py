"""The audio half: Whisper's encoder (frozen) on a clip's own length, then a frame-stacking projector.

Whisper pads every clip to 30 s; here a clip is computed on its own length plus 0.1 s of silence, with the
position table cut to it, which is many times cheaper for short clips. Clips beyond 30 s are computed in
windows. A batch gives what its clips give alone: padding is masked in every layer.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from arl.errors import ArlError
from arl.models.weights import fill, made_of, read_weights

FRAME = 320  # samples per encoder frame: 160-sample hop of the mel spectrogram, halved by the second convolution
TAIL_S = 0.1  # silence added behind a clip, so that its last word is not cut


class Projector(nn.Module):
    """Frames [B, T, D] → embeddings [B, T // stack, H]: stacks `stack` frames, then residual convolutions.

    `ctc` (H → V) reads the embeddings in supervised training only, as an auxiliary loss.
    """

    def __init__(self, in_dim: int, out_dim: int, vocab: int, stack: int = 2, layers: int = 2, kernel: int = 5) -> None:
        super().__init__()
        self.stack = stack
        self.norm_in = nn.LayerNorm(in_dim)
        self.stacked = nn.Linear(in_dim * stack, out_dim)
        self.convs = nn.ModuleList(nn.Conv1d(out_dim, out_dim, kernel, padding=kernel // 2) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(out_dim) for _ in range(layers))
        self.norm_out = nn.LayerNorm(out_dim)
        self.dropout = nn.Dropout(0.1)
        self.ctc = nn.Linear(out_dim, vocab)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """lengths: int64 [B], valid embeddings per row; positions beyond them are zero before each convolution,
        as they are for a clip alone."""
        batch, length, dim = frames.shape
        usable = frames[:, : length // self.stack * self.stack]
        x = self.stacked(self.norm_in(usable).reshape(batch, length // self.stack, dim * self.stack))
        x = self.dropout(x)
        valid = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            inside = norm(x).masked_fill(~valid, 0.0)
            x = x + F.gelu(conv(inside.transpose(1, 2)).transpose(1, 2))
        return self.norm_out(x)


class Frontend(nn.Module):
    """tower: WhisperEncoder; projector: Projector. Rates: audio at `sample_rate` Hz, features at `feature_rate_hz`,
    embeddings at `embedding_rate_hz`."""

    sample_rate = 16000

    def __init__(self, tower: WhisperEncoder, projector: Projector) -> None:
        super().__init__()
        self.tower, self.projector = tower, projector
        self.extractor = WhisperFeatureExtractor(feature_size=tower.config.num_mel_bins)
        self.requires_grad_(False).eval()

    @property
    def feature_rate_hz(self) -> float:
        return self.sample_rate / FRAME

    @property
    def embedding_rate_hz(self) -> float:
        return self.feature_rate_hz / self.projector.stack

    @property
    def device(self) -> torch.device:
        return self.tower.conv1.weight.device

    @torch.no_grad()
    def features(self, waves: Sequence[np.ndarray]) -> list[Tensor]:
        """float32 [n] waveforms at 16 kHz → per clip [T, D] features, 50 Hz."""
        window = (self.tower.config.max_source_positions - 10) * FRAME
        pieces, owner = [], []
        for index, wave in enumerate(waves):
            for start in range(0, max(1, len(wave)), window):
                pieces.append(wave[start : start + window])
                owner.append(index)
        computed: list[list[Tensor]] = [[] for _ in waves]
        for index, features in zip(owner, self._windows(pieces), strict=True):
            computed[index].append(features)
        return [torch.cat(parts) for parts in computed]

    def _windows(self, waves: Sequence[np.ndarray]) -> list[Tensor]:
        lengths = [math.ceil((len(wave) / self.sample_rate + TAIL_S) * self.feature_rate_hz) for wave in waves]
        # two frames more than the longest needs: the convolutions' own zero padding stays out of every clip
        samples = (max(lengths) + 2) * FRAME
        mel = self.extractor(
            list(waves), sampling_rate=self.sample_rate, return_tensors="pt", padding="max_length", max_length=samples
        ).input_features.to(self.device, self.tower.conv1.weight.dtype)
        x = F.gelu(self.tower.conv1(mel))
        x = F.gelu(self.tower.conv2(x)).transpose(1, 2)
        x = x + self.tower.embed_positions.weight[: x.shape[1]]
        inside = torch.arange(x.shape[1], device=x.device) < torch.tensor(lengths, device=x.device)[:, None]
        mask = torch.zeros(inside.shape, dtype=x.dtype, device=x.device).masked_fill(~inside, torch.finfo(x.dtype).min)
        for layer in self.tower.layers:
            output = layer(x, mask[:, None, None, :])
            x = output[0] if isinstance(output, tuple) else output
        x = self.tower.layer_norm(x)
        return [row[:length] for row, length in zip(x, lengths, strict=True)]

    def project(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Per clip [T, D] features → [T // stack, H] embeddings. Differentiable when the projector is in training."""
        frames = nn.utils.rnn.pad_sequence(list(features), batch_first=True).to(self.device)
        lengths = torch.tensor([len(item) // self.projector.stack for item in features], device=self.device)
        with torch.set_grad_enabled(self.projector.training):
            x = self.projector(frames.to(self.projector.stacked.weight.dtype), lengths)
        return [row[:length] for row, length in zip(x, lengths.tolist(), strict=True)]

    def digest(self) -> str:
        """Names the embeddings: equal digests give equal embeddings for equal audio. Training-only weights are left
        out."""
        return tensors_digest(
            {name: t for name, t in self.state_dict().items() if not name.startswith("projector.ctc")}
        )

    def save(self, folder: Path) -> None:
        """Writes what `load` reads."""
        save(self, folder)


def tensors_digest(tensors: dict[str, Tensor]) -> str:
    """12 hex digits over names and float32 bytes, in the names' order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + b"\0" + tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def save(frontend: Frontend, folder: Path) -> None:
    """Writes `config.json`, `tower.safetensors` and `projector.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in frontend.tower.state_dict().items()}, folder / "tower.safetensors")
    save_file(frontend.projector.state_dict(), folder / "projector.safetensors")
    write_config(frontend.tower.config, frontend.projector, folder)


def write_config(tower: WhisperConfig, projector: Projector, folder: Path) -> None:
    shape = projector_shape(projector)
    config = {"tower": json.loads(tower.to_json_string(use_diff=True)), "projector": shape}
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def projector_shape(projector: Projector) -> dict[str, int]:
    """The arguments behind `in_dim` that make a projector of the same shape."""
    return {
        "out_dim": projector.norm_out.normalized_shape[0], "vocab": projector.ctc.out_features,
        "stack": projector.stack, "layers": len(projector.convs),
        "kernel": projector.convs[0].kernel_size[0] if projector.convs else 1,
    }  # fmt: skip


def read_shapes(folder: Path) -> tuple[WhisperConfig, Projector]:
    """The tower's configuration and an uninitialised projector of the shape that `config.json` names."""
    path = folder / "config.json"
    if not path.is_file():
        raise ArlError(f"{path}: missing; this is not a whisper-qwen2 frontend")
    return made_of(path, "a frontend's shapes", shapes_of)


def shapes_of(config: Any) -> tuple[WhisperConfig, Projector]:
    """What `config.json` says. KeyError or TypeError for what is none of it."""
    tower = WhisperConfig.from_dict(config["tower"])
    return tower, Projector(tower.d_model, **config["projector"])


def load(folder: Path) -> Frontend:
    """Reads what `save` wrote. ArlError for a missing or mismatching file."""
    config, projector = read_shapes(folder)
    tower = WhisperEncoder(config)
    for module, name in ((tower, "tower.safetensors"), (projector, "projector.safetensors")):
        path = folder / name
        if not path.is_file():
            raise ArlError(f"{path}: missing; `arl init` makes a whole frontend")
        load_weights(module, path)
    return Frontend(tower, projector)


def load_weights(module: nn.Module, path: Path) -> None:
    """Gives a module the tensors of a file, in their dtype. ArlError for a file that is damaged, not finite, or of
    another shape."""
    tensors = read_weights(path)
    module.to(next((t.dtype for t in tensors.values() if t.is_floating_point()), torch.float32))
    fill(module, tensors, path, path.with_name("config.json"))
