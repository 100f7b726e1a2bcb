"""Acoustic tokens → waveforms: flow matching (flow.py), then the vocoder (vocoder.py). What `arl decode` runs.

Files in `frontend/`: decoder.json ({"flow": sizes, "vocoder": {"kind": "vocos" or "griffin-lim", sizes}}),
flow.safetensors, and vocoder.safetensors where the vocoder has weights. A batch gives what its clips give alone, up to
the rounding of float32 sums (1e-5 of full scale); Griffin-Lim would enlarge it, so with it clips are decoded one after
another, to the same bits. Left out: streaming.

    decoder = load(policy.frontend_dir).to(device)
    waves = decoder.decode(codes, speakers, [noise_of("0/utt-1", 2 * len(row)) for row in codes])
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from arl.errors import ArlError
from arl.models.qwen2_flow.flow import Flow, FlowConfig
from arl.models.qwen2_flow.mel import CODE_SAMPLES, FRAMES_PER_CODE, N_MELS, SAMPLE_RATE, TOKEN_RATE_HZ
from arl.models.qwen2_flow.vocoder import GriffinLim, Vocos, make_vocoder
from arl.models.weights import fill, made_of, read_weights

CONFIG, FLOW, VOCODER = "decoder.json", "flow.safetensors", "vocoder.safetensors"


class Decoder(nn.Module):
    """Flow and vocoder, frozen, float32. Rates: codes at `token_rate_hz`, waves at `sample_rate` Hz."""

    sample_rate = SAMPLE_RATE
    token_rate_hz = TOKEN_RATE_HZ

    def __init__(self, flow: Flow, vocoder: Vocos | GriffinLim) -> None:
        super().__init__()
        self.flow, self.vocoder = flow, vocoder
        self.requires_grad_(False).eval()

    @property
    def device(self) -> torch.device:
        return self.flow.mean.device

    @torch.no_grad()
    def decode(
        self, codes: Sequence[Tensor], speakers: Tensor, noises: Sequence[Tensor],
        nfe: int = 10, cfg: float = 0.7, dtype: torch.dtype = torch.float32,
    ) -> list[Tensor]:  # fmt: skip
        """Waves, float32 [640 n] on the CPU, one per clip.

        codes: int64 [n] each, n > 0; speakers: float32 [B, S]; noises: float32 [2 n, 80] each; nfe, cfg: see Flow.
        dtype: of the matrix products; the path, the norms and the inverse transform stay float32.
        """
        if not codes:
            return []
        if len(codes) > 1 and isinstance(self.vocoder, GriffinLim):
            rows = zip(codes, speakers, noises, strict=True)
            return [self.decode([row], one[None], [noise], nfe, cfg, dtype)[0] for row, one, noise in rows]
        lengths = torch.tensor([len(row) for row in codes], device=self.device)
        padded, noise = (nn.utils.rnn.pad_sequence(list(rows), True).to(self.device) for rows in (codes, noises))
        half = torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32)
        with half, torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            mels = self.flow.sample(padded, lengths, speakers.to(self.device), noise, nfe, cfg)
            waves = self.vocoder(mels, FRAMES_PER_CODE * lengths)
        return [wave[: CODE_SAMPLES * len(row)] for wave, row in zip(waves.cpu(), codes, strict=True)]


def noise_of(name: str, n_frames: int) -> Tensor:
    """Standard normal numbers, float32 [n_frames, 80]: with the same name, fewer frames are the first of more."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n_frames, N_MELS), dtype=np.float32))


def save(decoder: Decoder, folder: Path) -> None:
    """Writes the decoder's files into `folder`, whose other files stay."""
    save_vocoder(decoder.vocoder, folder)
    save_flow(decoder.flow, folder)


def save_flow(flow: Flow, folder: Path) -> None:
    """The flow's part of `save`."""
    _write(folder, "flow", flow, FLOW)


def save_vocoder(vocoder: Vocos | GriffinLim, folder: Path) -> None:
    """The vocoder's part of `save`: it needs no codes, so it can be trained before or beside the tokenizer."""
    _write(folder, "vocoder", vocoder, VOCODER)


def _write(folder: Path, part: str, module: Any, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shapes = json.loads((folder / CONFIG).read_text()) if (folder / CONFIG).is_file() else {}
    shapes[part] = module.config.as_dict()
    if weights := module.state_dict():
        save_file({key: tensor.contiguous() for key, tensor in weights.items()}, folder / name)
    (folder / CONFIG).write_text(json.dumps(shapes, indent=1, sort_keys=True) + "\n")


def load(folder: Path) -> Decoder:
    """Reads what `save` wrote; weights saved in 16 bits become float32. ArlError for a missing or mismatching file."""
    flow: Flow = _read(folder, "flow", lambda shape: Flow(FlowConfig(**shape)), FLOW)
    vocoder: Vocos | GriffinLim = _read(folder, "vocoder", make_vocoder, VOCODER)
    return Decoder(flow, vocoder)


def _read(folder: Path, part: str, make: Callable[[dict[str, Any]], Any], name: str) -> Any:
    path = folder / CONFIG
    if not path.is_file():
        raise ArlError(f"{path}: missing; this policy has no decoder (examples/tts/ trains one)")
    module = made_of(path, "a decoder's sizes", lambda sizes: make(sizes[part]))
    if module.state_dict():
        weights = {key: tensor.float() for key, tensor in read_weights(folder / name).items()}
        fill(module, weights, folder / name, path)
    return module
