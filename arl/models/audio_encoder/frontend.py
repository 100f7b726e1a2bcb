"""The audio half: a frozen encoder of transformers with its own features, then the frame-stacking projector.

Clips are encoded one by one: in most encoders a batch does not give what its clips give alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from arl.errors import ArlError
from arl.models.weights import made_of
from arl.models.whisper_qwen2 import frontend as base
from arl.train.finite import refuse_not_finite
from arl.train.load import SOURCE_AGAIN, UNREADABLE, first_line

TOWER, CONFIG, WEIGHTS, PROJECTOR = "tower", "config.json", "tower.safetensors", "projector.safetensors"
MEASURED_S = 10


class Frontend(base.Frontend):
    """tower: any encoder, input features or waves → last_hidden_state [1, T, D]; extractor: its feature extractor.

    rate_hz: frames a second, None: measured once on silence.
    """

    def __init__(self, tower: Any, extractor: Any, projector: base.Projector, rate_hz: float | None = None) -> None:
        torch.nn.Module.__init__(self)
        self.tower, self.projector, self.extractor = tower, projector, extractor
        self.sample_rate = int(extractor.sampling_rate)
        self.requires_grad_(False).eval()
        if rate_hz is None:
            rate_hz = len(self.features([np.zeros(MEASURED_S * self.sample_rate, np.float32)])[0]) / MEASURED_S
        self.rate_hz = rate_hz

    @property
    def feature_rate_hz(self) -> float:
        return self.rate_hz

    @property
    def device(self) -> torch.device:
        return next(self.tower.parameters()).device

    @torch.no_grad()
    def features(self, waves: Sequence[np.ndarray]) -> list[Tensor]:
        """float32 [n] waveforms at the extractor's rate → per clip [T, D] features."""
        return [self._one(wave) for wave in waves]

    def _one(self, wave: np.ndarray) -> Tensor:
        found = self.extractor(wave, sampling_rate=self.sample_rate, return_tensors="pt")
        name = self.tower.main_input_name
        features = found[name if name in found else self.extractor.model_input_names[0]]
        dtype = next(self.tower.parameters()).dtype
        return self.tower(features.to(self.device, dtype)).last_hidden_state[0]

    def save(self, folder: Path) -> None:
        """Writes `tower/` (configuration and features), the weights, and the shapes in `config.json`."""
        self.tower.config.save_pretrained(folder / TOWER)
        self.extractor.save_pretrained(folder / TOWER)
        save_file({k: v.contiguous() for k, v in self.tower.state_dict().items()}, folder / WEIGHTS)
        save_file(self.projector.state_dict(), folder / PROJECTOR)
        shapes = {"projector": base.projector_shape(self.projector), "rate_hz": self.rate_hz}
        (folder / CONFIG).write_text(json.dumps(shapes, indent=1, sort_keys=True) + "\n")


def width(tower: Any) -> int:
    """D of an encoder's frames."""
    return int(getattr(tower.config, "output_hidden_size", None) or tower.config.hidden_size)


def encoder_of(model: Any) -> Any:
    """The encoder alone, without a CTC head or a decoder."""
    return model.encoder if hasattr(model, "decoder") or hasattr(model, "ctc_head") else model


def load_encoder(source: str | Path) -> tuple[Any, Any]:
    """(encoder, feature extractor) of a checkpoint. ArlError when it cannot be read, or weights are missing."""
    try:
        model, info = AutoModel.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
        extractor = AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
    except ImportError as error:
        line = " ".join(str(error).split())
        raise ArlError(f"{source}: its features need a package that arl does not install ({line})") from error
    except (OSError, ValueError) as error:
        raise ArlError(f"{source}: no audio encoder there ({str(error).strip().splitlines()[0]})") from error
    tower = encoder_of(model)
    prefix = next(name for name, module in model.named_modules() if module is tower)
    own = [name for name in info["missing_keys"] if name.startswith(prefix)]
    if missing := sorted(name for name in own if "masked_spec" not in name):
        raise ArlError(f"{source}: tensor {missing[0]} of the encoder is missing")
    refuse_not_finite(tower.named_parameters(), str(source), "take the checkpoint from its source again")
    return tower, extractor


def load(folder: Path) -> Frontend:
    """Reads what `save` wrote. ArlError for a missing file."""
    for name in (CONFIG, WEIGHTS, PROJECTOR):
        if not (folder / name).is_file():
            raise ArlError(f"{folder / name}: missing; `arl init` makes a whole frontend")
    try:
        config = AutoConfig.from_pretrained(folder / TOWER, trust_remote_code=False)
        tower = encoder_of(AutoModel.from_config(config, trust_remote_code=False))
        extractor = AutoFeatureExtractor.from_pretrained(folder / TOWER, trust_remote_code=False)
    except UNREADABLE as error:
        raise ArlError(f"{folder / TOWER}: cannot be loaded ({first_line(error)}): {SOURCE_AGAIN}") from error
    base.load_weights(tower, folder / WEIGHTS)
    projector, rate_hz = made_of(
        folder / CONFIG, "a frontend's shapes",
        lambda shapes: (base.Projector(width(tower), **shapes["projector"]), shapes["rate_hz"]),
    )  # fmt: skip
    base.load_weights(projector, folder / PROJECTOR)
    return Frontend(tower, extractor, projector, rate_hz)
