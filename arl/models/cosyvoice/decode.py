"""`arl decode`: codes → waves at 24 kHz by the flow and the vocoder, from flow.pt and hift.pt as the folder had them.

Flows of a batch are computed together, which gives what each gives alone; mels are made waves in groups of one length.
The random numbers are named, so that all hypotheses of a group begin with the same. `--dtype bfloat16` is of the flow's
matrix products; the solver's path and the vocoder stay float32. Left out: streaming, CUDA graphs.

    decoding = Decoding(VERSION_2, Flow.of, Hift); CosySynthesis(policy, decoding, device, settings).decode(…)
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arl.audio.io import resample
from arl.errors import ArlError
from arl.models import DecodeSettings, resident
from arl.models.cosyvoice.flow import Flow
from arl.models.cosyvoice.hift import Hift
from arl.models.cosyvoice.layout import Layout
from arl.models.cosyvoice.recipe import read_recipe
from arl.models.cosyvoice.source import FLOW as FLOW_PT
from arl.models.cosyvoice.source import HIFT as HIFT_PT
from arl.models.cosyvoice.source import Source, apart
from arl.models.cosyvoice.voices import MELS_PER_CODE, N_MELS, Voice, load_voices
from arl.policy import Policy

FLOW, HIFT = "flow.safetensors", "hift.safetensors"
GENERATOR = "generator."  # in front of hift.pt's names
RATE = 16_000  # of voices made audible, Hz
LONGEST_SILENCE = 5  # silent codes in a row that are heard


class FlowHift(nn.Module):
    """The decoder, frozen."""

    def __init__(self, flow: Flow, hift: Hift) -> None:
        super().__init__()
        self.flow, self.hift = flow, hift
        self.requires_grad_(False).eval()


@dataclass(frozen=True)
class Decoding:
    """How a version is decoded. flow, hift: makers of both from the recipe and from its section `hift`."""

    layout: Layout
    flow: Callable[[Mapping[str, Any]], Flow]
    hift: Callable[[dict[str, Any]], Hift]

    def load(self, frontend: Path) -> FlowHift:
        """The decoder of a frontend, on the CPU in float32. ArlError where a file is missing or does not fit."""
        flow, hift = self.parts(frontend / self.layout.recipe)
        self.fill(flow, frontend / FLOW)
        self.fill(hift, frontend / HIFT)
        return FlowHift(flow, hift.plain())

    def write(self, source: Source, frontend: Path) -> None:
        """The weights of flow.pt and hift.pt as a frontend has them. ArlError where they do not fit the recipe."""
        parts = self.parts(source.folder / self.layout.recipe)
        for module, name, target in zip(parts, (FLOW_PT, HIFT_PT), (FLOW, HIFT), strict=True):
            tensors = source.tensors(name)
            self.check(module, without_prefix(tensors), source.folder / name)
            save_file(apart(tensors), frontend / target)

    def parts(self, path: Path) -> tuple[Flow, Hift]:
        """Flow and vocoder of a recipe's sizes, without weights. ArlError where they are not the version's."""
        recipe = read_recipe(path)
        try:
            with torch.device("meta"):
                return self.flow(recipe), self.hift(recipe["hift"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ArlError(f"{path}: no sizes of {self.layout.title}'s flow and hift ({error!r})") from error

    def fill(self, module: nn.Module, path: Path) -> None:
        """Takes over the weights of a file."""
        if not path.is_file():
            raise ArlError(f"{path}: missing; take the policy from its source again")
        tensors = {name: tensor.float() for name, tensor in without_prefix(load_file(path)).items()}
        self.check(module, tensors, path)
        module.load_state_dict(tensors, assign=True)

    def check(self, module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
        """ArlError for the first tensor that is missing, too many, or of another shape."""
        wanted = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
        if odd := sorted(wanted.keys() - tensors.keys()) or sorted(tensors.keys() - wanted.keys()):
            problem = "is missing" if odd[0] in wanted else f"is none of {self.layout.title}'s"
            raise ArlError(f"{path}: tensor {odd[0]} {problem}{f', and {len(odd) - 1} more' if odd[1:] else ''}")
        for name, shape in wanted.items():
            if list(tensors[name].shape) != shape:
                raise ArlError(f"{path}: tensor {name} is {list(tensors[name].shape)}, and the recipe has {shape}")

    def voice_waves(self, frontend: Path) -> dict[str, np.ndarray]:
        """The voices of a frontend by name, float32 [n] at 16 kHz: what the vocoder makes of their mels. A voice that
        is a speaker vector alone has none."""
        hift, waves = self.load(frontend).hift, {}
        for name, voice in load_voices(frontend).items():
            if len(voice.mel):
                (wave,) = vocoded(hift, [torch.from_numpy(voice.mel).T], [seed_of(name)])
                waves[name] = resample(wave.numpy(), int(hift.sizes["sampling_rate"]), RATE)
        return waves


class CosySynthesis:
    """A `Synthesiser` (arl/models/)."""

    def __init__(self, policy: Policy, decoding: Decoding, device: Any, settings: DecodeSettings) -> None:
        self.folder, self.settings, self.device = policy.frontend_dir, settings, device
        self.layout = decoding.layout
        self.known: Mapping[str, Voice] = load_voices(self.folder)
        self.sample_rate, self.token_rate_hz = policy.given("sample_rate"), policy.given("token_rate_hz")
        self.decoder = resident.wake(self.folder, decoding.load, device)

    @property
    def voices(self) -> Collection[str]:
        return self.known

    def decode(self, codes: Sequence[Sequence[int]], voices: Sequence[str], noises: Sequence[str]) -> list[Tensor]:
        spoken = [self.known[name] for name in voices]
        heard = [shortened(row, self.layout.silent) for row in codes]
        rows = [torch.tensor([*voice.codes, *row]) for voice, row in zip(spoken, heard, strict=True)]
        starts = [noise_of(name, MELS_PER_CODE * len(row)) for name, row in zip(noises, rows, strict=True)]
        dtype = getattr(torch, self.settings.dtype)
        half = torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32)
        with half, torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            mels = self.decoder.flow.sample(
                rows, [torch.from_numpy(voice.mel) for voice in spoken],
                torch.stack([torch.from_numpy(voice.speaker) for voice in spoken]), starts,
                self.settings.nfe, self.settings.cfg,
            )  # fmt: skip
        return vocoded(self.decoder.hift, mels, [seed_of(name) for name in noises])

    def sleep(self) -> None:
        resident.sleep(self.decoder, self.folder)


def shortened(codes: Sequence[int], silent: Collection[int]) -> list[int]:
    """Codes without those of a run of silent ones behind its fifth, as upstream speaks them."""
    kept, run = [], 0
    for code in codes:
        run = run + 1 if code in silent else 0
        if run <= LONGEST_SILENCE:
            kept.append(code)
    return kept


def vocoded(hift: Hift, mels: Sequence[Tensor], seeds: Sequence[int]) -> list[Tensor]:
    """Waves, float32 [480 T] on the CPU, of mels [80, T]: those of one length together."""
    waves: dict[int, Tensor] = {}
    for length in sorted({mel.shape[1] for mel in mels}):
        chosen = [index for index, mel in enumerate(mels) if mel.shape[1] == length]
        made = hift(torch.stack([mels[index].float() for index in chosen]), [seeds[index] for index in chosen])
        waves |= dict(zip(chosen, made.cpu(), strict=True))
    return [waves[index] for index in range(len(mels))]


def seed_of(name: str) -> int:
    """63 bits of a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") >> 1


def noise_of(name: str, n_frames: int) -> Tensor:
    """Standard normal numbers, float32 [n_frames, 80]: with the same name, fewer frames are the first of more."""
    rng = np.random.default_rng(seed_of(name))
    return torch.from_numpy(rng.standard_normal((n_frames, N_MELS), dtype=np.float32))


def without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By the names that the modules have."""
    return {name.removeprefix(GENERATOR): tensor for name, tensor in tensors.items()}
