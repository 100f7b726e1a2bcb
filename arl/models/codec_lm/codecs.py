"""The codecs that an LM speaks through: codes of each level ↔ waves. By the classes of transformers, and snac's own.

    codec = CODECS["dac"]; model = codec.load(folder)
    codec.waves(model, [tensor, tensor], ["a"])[0]                      # float32 [n] at codec.facts(folder).sample_rate

Each codec hears recordings alone, and codes of one length are decoded together, so that nothing is padded.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arl.errors import ArlError
from arl.models.checkpoint import CONFIG, Checkpoint
from arl.models.weights import read_pt
from arl.runtime.device import quiet_transformers
from arl.train.acoustic import seed_of
from arl.train.finite import refuse_not_finite
from arl.train.load import SOURCE_AGAIN, UNREADABLE, first_line, whole

COPIED = "*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"
WEIGHTS, PICKLED, FEATURES = "model.safetensors", "pytorch_model.bin", "preprocessor_config.json"


@dataclass(frozen=True)
class CodecFacts:
    """sample_rate, heard_rate: of the waves it makes and takes, Hz; frame_hz: frames a second; per_level: codes of each
    level in a frame; size: codes of a codebook."""

    sample_rate: int
    heard_rate: int
    frame_hz: float
    per_level: tuple[int, ...]
    size: int


class Codec(Protocol):
    """title: for errors: "DacModel"."""

    title: str

    def facts(self, folder: Path) -> CodecFacts:
        """By the folder's configuration. ArlError where it is another codec's, or has no weights."""

    def copy(self, folder: Path, target: Path) -> None:
        """Writes what `load` reads. target: a new folder."""

    def load(self, folder: Path) -> Any:
        """The model, float32, frozen, on the CPU. ArlError where a tensor is missing."""

    def waves(self, model: Any, codes: Sequence[Tensor], noises: Sequence[str]) -> Tensor:
        """Codes of each level int64 [B, n] on the model's device → waves float32 [B, samples]. noises: names of each
        row's random numbers, where the decoder draws some."""

    def codes(self, model: Any, folder: Path, wave: np.ndarray) -> list[list[int]]:
        """The codes of each level of a recording float32 [n] at `heard_rate`; the last frame may hear its padding."""


def copy_files(folder: Path, target: Path) -> None:
    """The files of a checkpoint, but for pickles and code."""
    target.mkdir()
    for file in sorted({file for pattern in COPIED for file in folder.glob(pattern)}):
        shutil.copyfile(file, target / file.name)


class OfTransformers:
    """What the codecs of transformers share. title: the class; model_type: config.json's."""

    def __init__(self, title: str, model_type: str) -> None:
        self.title, self.model_type = title, model_type

    def config(self, folder: Path) -> Any:
        from transformers import AutoConfig

        found = Checkpoint(str(folder))
        if found.model_type != self.model_type:
            raise ArlError(f"{folder}: {found.what}")
        if not any(folder.glob("*.safetensors")):
            raise ArlError(f"{folder}: no *.safetensors weights of {self.title}")
        try:
            return AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except UNREADABLE as error:
            raise ArlError(f"{folder / CONFIG}: cannot be read ({first_line(error)})") from error

    def copy(self, folder: Path, target: Path) -> None:
        copy_files(folder, target)

    def load(self, folder: Path) -> Any:
        import transformers

        quiet_transformers()
        model = whole(getattr(transformers, self.title).from_pretrained, folder, dtype=torch.float32)
        return model.requires_grad_(False).eval()


class Fsq(OfTransformers):
    """X-Codec 2 and NeuCodec: one level of finite scalar quantisation, a semantic model beside the waveform's."""

    def facts(self, folder: Path) -> CodecFacts:
        config = self.config(folder)
        made, heard = (
            getattr(config, name, None) or config.sampling_rate
            for name in ("output_sampling_rate", "input_sampling_rate")
        )
        return CodecFacts(made, heard, made / config.hop_length, (1,), math.prod(config.quantization_levels))

    def waves(self, model: Any, codes: Sequence[Tensor], noises: Sequence[str]) -> Tensor:
        return model.decode(codes[0][:, None]).audio_values.flatten(1)

    def codes(self, model: Any, folder: Path, wave: np.ndarray) -> list[list[int]]:
        from transformers import AutoFeatureExtractor

        if not (folder / FEATURES).is_file():
            raise ArlError(f"{folder}: no {FEATURES}, so that {self.title} hears nothing")
        try:
            features = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
        except UNREADABLE as error:
            raise ArlError(f"{folder / FEATURES}: cannot be read ({first_line(error)})") from error
        heard = features(wave, sampling_rate=features.sampling_rate, return_tensors="pt").to(model.device)
        return model.encode(**heard).audio_codes[0].tolist()


class Dac(OfTransformers):
    """DAC: residual levels, a code of each in a frame. A recording is heard whole, and as loud as it is."""

    def facts(self, folder: Path) -> CodecFacts:
        config = self.config(folder)
        rate, levels = config.sampling_rate, (1,) * config.n_codebooks
        return CodecFacts(rate, rate, rate / config.hop_length, levels, config.codebook_size)

    def waves(self, model: Any, codes: Sequence[Tensor], noises: Sequence[str]) -> Tensor:
        return model.decode(audio_codes=torch.stack(list(codes), 1)).audio_values

    def codes(self, model: Any, folder: Path, wave: np.ndarray) -> list[list[int]]:
        hop = model.config.hop_length
        padded = nn.functional.pad(torch.from_numpy(wave), (0, -len(wave) % hop))[None, None].to(model.device)
        return model.encode(padded).audio_codes[0].tolist()


class Snac:
    """SNAC (arXiv 2410.14411), by the package of its authors: residual levels, each twice as fast as the one before."""

    title = "SNAC"

    def facts(self, folder: Path) -> CodecFacts:
        config = Checkpoint(str(folder)).config
        if not any((folder / name).is_file() for name in (WEIGHTS, PICKLED)):
            raise ArlError(f"{folder}: no {PICKLED} or {WEIGHTS}")
        try:
            rate, strides = int(config["sampling_rate"]), [int(stride) for stride in config["vq_strides"]]
            frame_hz = rate / math.prod(config["encoder_rates"]) / strides[0]
            return CodecFacts(
                rate, rate, frame_hz, tuple(strides[0] // s for s in strides), int(config["codebook_size"])
            )
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
            raise ArlError(f"{folder / CONFIG}: not SNAC's ({error!r})") from error

    def copy(self, folder: Path, target: Path) -> None:
        """The weights become safetensors: a pickle of anything but tensors is refused."""
        model = self.load(folder)
        target.mkdir()
        shutil.copyfile(folder / CONFIG, target / CONFIG)
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, target / WEIGHTS)

    def load(self, folder: Path) -> Any:
        """ArlError too where the package is not installed."""
        safe, config = folder / WEIGHTS, Checkpoint(str(folder)).config
        try:
            from snac import SNAC
        except ImportError as error:
            raise ArlError("Orpheus speaks through SNAC: pip install 'arl[orpheus]'") from error
        try:
            model = SNAC(**config)
            model.load_state_dict(load_file(safe) if safe.is_file() else dict(read_pt(folder / PICKLED)))
        except (SafetensorError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ArlError(f"{folder}: not SNAC's tensors ({first_line(error)}): {SOURCE_AGAIN}") from error
        refuse_not_finite(model.named_parameters(), str(folder), SOURCE_AGAIN)
        return model.float().requires_grad_(False).eval()

    def waves(self, model: Any, codes: Sequence[Tensor], noises: Sequence[str]) -> Tensor:
        """Its decoder adds noise: a row's is drawn from the row's name alone."""
        rows = [[level[row, None] for level in codes] for row in range(len(noises))]
        return torch.cat([self.wave(model, row, noise) for row, noise in zip(rows, noises, strict=True)])

    def wave(self, model: Any, codes: list[Tensor], noise: str) -> Tensor:
        with torch.random.fork_rng([codes[0].device] if codes[0].is_cuda else []):
            torch.manual_seed(seed_of(noise))
            return model.decode(codes).flatten(1)

    def codes(self, model: Any, folder: Path, wave: np.ndarray) -> list[list[int]]:
        heard = torch.from_numpy(wave)[None, None].to(next(model.parameters()).device)
        return [level[0].tolist() for level in model.encode(heard)]


CODECS: dict[str, Codec] = {
    "xcodec2": Fsq("Xcodec2Model", "xcodec2"), "neucodec": Fsq("NeuCodecModel", "neucodec"),
    "dac": Dac("DacModel", "dac"), "snac": Snac(),
}  # fmt: skip
