"""Model families: what the commands ask of one, and how it is found. README.md has the checklist for the next.

A family is a folder here whose `__init__.py` has an object `FAMILY` of the protocol `Family`. That module is light:
what computes is imported by the methods. No command names a family; it asks for that of a policy or of a checkpoint.

    family_of(policy)                                   # by arl.json's "family"
    family_of(policy, "decoder")                        # or one line that says what it lacks
    recognised(Checkpoint("openai/whisper-small"))      # the one that makes a policy of it
"""

import importlib
import pkgutil
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from arl.errors import ArlError, UsageError
from arl.models.checkpoint import Checkpoint
from arl.models.refused import reason
from arl.policy import Policy
from arl.shards.durable import write_folder

if TYPE_CHECKING:
    import numpy as np
    import torch

    from arl.models.token_asr.model import TokenAsr
    from arl.runtime.budget import FailureBudget
    from arl.shards.reader import Sample
    from arl.train.projector import Frontend

Dtype = Literal["float16", "bfloat16", "float32"]
Part = Literal["checkpoints", "slim", "features", "projector", "decoder", "voices", "tokenizer"]
LACKING: dict[Part, str] = {  # a policy of the family … ; each family names the parts it has
    "checkpoints": "is not made from a checkpoint",
    "slim": "has no slim form: ship the policy folder itself",
    "features": "has no features in front of a projector: encode without --features",
    "projector": "has no projector to train",
    "decoder": 'has no decoder: its hypotheses are texts, not speech (its arl.json has no "task": "tts")',
    "voices": "has no voices",
    "tokenizer": "has no speech tokenizer",
}


@dataclass(frozen=True)
class Subwords:
    """A vocabulary to make. size: special tokens included. texts: shards, as --shards names them, of whose transcripts
    it is made."""

    size: int
    texts: tuple[str, ...]


@dataclass(frozen=True)
class InitOptions:
    """Flags of `arl init`, None where not given. llm: new:WIDTHxLAYERS, a causal LM's folder or name; stack: encoder
    frames per embedding. Of the prompt: instruction: in place of the family's own; language: a code, or "sample" for
    each utterance's `lang`; hotwords: each utterance's `keywords` are in it. voices: of synthesis, each
    NAME=FILE:TRANSCRIPT. codec: the folder of what an LM of codes speaks through. subwords: of a fresh LLM,
    in place of characters."""

    llm: str | None = None
    stack: int | None = None
    seed: int = 0
    instruction: str | None = None
    language: str | None = None
    hotwords: bool = False
    voices: tuple[str, ...] = ()
    codec: str | None = None
    subwords: Subwords | None = None

    @property
    def asks(self) -> bool:
        """Whether a flag of the prompt was given."""
        return self.instruction is not None or self.language is not None or self.hotwords


@dataclass(frozen=True)
class DecodeSettings:
    """Everything of `arl decode` that changes the waves. nfe: steps of the solver; cfg: strength of the classifier-free
    guidance, 0 is off; dtype: of matrix products."""

    nfe: int = 10
    cfg: float = 0.7
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0


class Encoder(Protocol):
    """A policy's half in front of the LLM, on the device: samples of a shard → their prompts, embeddings or codes."""

    def read(self, samples: "Iterable[Sample]") -> Any:
        """What `encode` takes of a shard: the CPU's work, done in a thread while the device has the shard before."""

    def encode(
        self, shard: Any, batch_s: float, budget: "FailureBudget"
    ) -> Iterable[tuple[str, Mapping[str, bytes], float]]:
        """(key, members, seconds of audio) of every sample, in the shard's order; batches of batch_s seconds of audio,
        padding included. A sample that cannot be encoded is counted, and has `.prompt.json` with its error."""

    def sleep(self) -> None:
        """Leaves the device, kept for the next job of a resident process."""


class Synthesiser(Protocol):
    """A policy's half behind the LLM, on the device: acoustic tokens → waves. A wave depends neither on its batch nor
    on the other hypotheses."""

    @property
    def sample_rate(self) -> int:
        """Of the waves, Hz."""

    @property
    def token_rate_hz(self) -> float:
        """Acoustic tokens per second."""

    @property
    def voices(self) -> Collection[str]:
        """The names that `decode` takes."""

    def decode(
        self, codes: Sequence[Sequence[int]], voices: Sequence[str], noises: Sequence[str]
    ) -> "Sequence[torch.Tensor]":
        """Waves, float32 [n] each on the CPU, of B lists of codes, none empty. noises: the names of the random numbers
        [B]; clips with the same name begin with the same ones."""

    def sleep(self) -> None:
        """Leaves the device, kept for the next job of a resident process."""


class Family(Protocol):
    """What the commands ask of a family. One that lacks a part need not have the part's methods.

    name: arl.json's "family". takes: whose checkpoints it takes, for the line that refuses others. packaged: names
    for `arl init --from` that need no hub. takes_voices: whether `arl init --voice` means something;
    takes_codec: `--codec`. parts: what it has. files: of a part in `frontend/`, the file that shows it is there.
    """

    name: str
    takes: str = ""
    packaged: Collection[str] = ()
    takes_voices: bool = False
    takes_codec: bool = False
    parts: Collection[Part] = ()
    files: Mapping[Part, str] = {}

    def owns(self, part: Part, folder: Path) -> bool:
        """Whether a frontend's folder, which may stand alone, is of this family and has the part."""
        return (folder / self.files[part]).is_file()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether it makes policies of this checkpoint, by its configuration and layout alone."""
        return False

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        """A checkpoint → a policy folder. UsageError for an option that means nothing here."""
        raise lacking(self, "checkpoints", checkpoint.source)

    def export(self, policy: Policy, out: Path) -> None:
        """Writes the checkpoint, in the family's own layout where it has one; else the LLM as a plain one."""
        copy_llm(policy, out)

    def export_slim(self, policy: Policy, out: Path, dtype: Dtype) -> Policy:
        """Writes the small parts of a policy for shipping, weights in `dtype`."""
        raise lacking(self, "slim", policy.path)

    def restore(self, slim: Policy, out: Path) -> Policy:
        """A whole float32 policy from what `export_slim` wrote."""
        raise lacking(self, "slim", slim.path)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        """What every family has. features: stop in front of the projector."""

    def load_frontend(self, folder: Path) -> "Frontend":
        """The frontend of a policy, for training its projector."""
        raise lacking(self, "projector", folder)

    def synthesiser(self, policy: Policy, device: "torch.device", settings: DecodeSettings) -> Synthesiser:
        """ArlError where the policy's tokens are not its decoder's."""
        raise lacking(self, "decoder", policy.path)

    def voice_waves(self, frontend: Path) -> "Mapping[str, np.ndarray]":
        """The voices of a frontend by name, made audible: float32 [n] at 16 kHz."""
        raise lacking(self, "voices", frontend)

    def token_recogniser(self, frontend: Path) -> "TokenAsr":
        """A recogniser of acoustic tokens that begins as what the frontend's speech tokenizer has behind its codes."""
        raise lacking(self, "tokenizer", frontend)


def copy_llm(policy: Policy, out: Path) -> None:
    """Writes the LLM as a plain checkpoint, whole or not at all."""

    def fill(folder: Path) -> None:
        shutil.copytree(policy.llm_dir, folder, dirs_exist_ok=True)

    write_folder(out, fill)


def lacking(family: Family, part: Part, where: str | Path) -> UsageError:
    """The line for asking a family for what it does not have. where: the policy, folder or name that was asked of."""
    return UsageError(f"{where}: family {family.name} {LACKING[part]}")


@cache
def families() -> Mapping[str, Family]:
    """All families by name, in the order of their folders."""
    packages = [found.name for found in pkgutil.iter_modules(__path__) if found.ispkg]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in packages]
    found: list[Family] = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return {family.name: family for family in found}


def family_of(policy: Policy, part: Part | None = None) -> Family:
    """The family of a policy. ArlError for an unknown one; UsageError where it lacks `part`."""
    known = families()
    if policy.family not in known:
        raise ArlError(f"{policy.path}: unknown model family {policy.family!r}; known: {', '.join(known)}")
    family = known[policy.family]
    if part is not None and part not in family.parts:
        raise lacking(family, part, policy.path)
    return family


def family_of_frontend(folder: Path, part: Part) -> Family | None:
    """The family whose `part` lies in a frontend's folder, which may stand alone; None where nobody's does."""
    owners = (family for family in families().values() if part in family.files)
    return next((family for family in owners if family.owns(part, folder)), None)


def files_of(part: Part) -> str:
    """The files of `family_of_frontend`, for an error: "codec.safetensors or …"."""
    return " or ".join(dict.fromkeys(family.files[part] for family in families().values() if part in family.files))


def recognised(checkpoint: Checkpoint) -> Family:
    """The family that makes policies of a checkpoint. ArlError with what the families take where none or several do."""
    able = [family for family in families().values() if "checkpoints" in family.parts]
    packaged = [family for family in able if checkpoint.source in family.packaged]
    found = packaged or [family for family in able if family.recognises(checkpoint)]
    if len(found) > 1:
        raise ArlError(f"{checkpoint.source}: several families take it: {', '.join(family.name for family in found)}")
    if not found:
        names = [name for family in able for name in family.packaged]
        *takes, last = (family.takes for family in able)
        raise ArlError(f"{checkpoint.source}: {reason(checkpoint)}; it is no {', '.join(takes)} or {last} checkpoint: "
                       f"give a local folder, a hub name, or {', '.join(names)}")  # fmt: skip
    return found[0]
