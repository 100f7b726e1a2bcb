"""A policy folder: what every stage means by `--policy`.

    policy/
      arl.json    family, version, prompt, token ids, rates; written last, so its presence marks a whole folder
      llm/        a Hugging Face causal LM: what the engine serves and `arl update` trains
      adapter/    of a policy that `arl update --lora-rank` trains: a LoRA on llm/ in peft's format
      frontend/   audio tower + projector (frozen in reinforcement learning)
      state/      optimizer, step, random state (after an update)

A policy is immutable: an update writes the next folder (`x.mdl` → `x+1.mdl`). Its version is
`<step>-<12 hex digits of the SHA-256 of the LLM's weights>`, so equal weights have equal versions and
a changed file is noticed; `digests` in arl.json are those of all other files, by part. This module reads and
writes the folder's frame and imports no torch.

With an adapter, `llm/` is the base that the adapter began on: hard links to its files, which are never written again
(a copy where the file system has no links), so that the folder is whole wherever it lies. `"base"` of arl.json is the
version that the base had, and the policy's own version is of base and adapter together.
"""

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.durable import write_folder
from arl.shards.rows.policy_fields import as_ids, read_marker

MARKER = "arl.json"
LLM, ADAPTER, FRONTEND, STATE = PARTS = "llm", "adapter", "frontend", "state"
WEIGHTS = "*.safetensors"


@dataclass(frozen=True)
class Policy:
    """A policy folder whose marker has been read, and the small files of whose LLM are those that it was written with;
    `verify` also hashes the weights."""

    path: Path
    fields: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> "Policy":
        """Reads `arl.json`. ArlError when the folder is missing, half-written, not a policy, or was edited."""
        folder = Path(path)
        marker = folder / MARKER
        if not folder.is_dir():
            raise ArlError(f"{folder}: no such policy folder; `arl init --from CHECKPOINT -o {folder}` makes one")
        if not marker.is_file():
            raise ArlError(f"{folder}: no {MARKER}, so this policy is half-written or not a policy; use another folder")
        refuse_links_out(folder)
        policy = cls(folder, read_marker(marker))
        policy.verify_part(LLM)
        return policy

    def given(self, name: str) -> Any:
        """A field that only some policies have. ArlError where this one lacks it."""
        if self.fields.get(name) is None:
            raise ArlError(f"{self.path / MARKER}: lacks {name}: take the policy from its source again")
        return self.fields[name]

    @property
    def version(self) -> str:
        return self.fields["version"]

    @property
    def step(self) -> int:
        return self.fields["step"]

    @property
    def family(self) -> str:
        return self.fields["family"]

    @property
    def is_tts(self) -> bool:
        """Whether it speaks (texts in, acoustic tokens out) rather than recognises."""
        return self.fields.get("task") == "tts"

    @property
    def has_clips(self) -> bool:
        """Whether its prompts have embeddings: of audio, or of synthesis' text where the LLM has no rows for it."""
        return not self.is_tts or bool(self.fields.get("prompt_embeddings"))

    @property
    def acoustic(self) -> tuple[int, int]:
        """(token id of code 0, number of codes) of a synthesis policy."""
        return self.given("acoustic_first"), self.given("acoustic_codes")

    @property
    def prompt(self) -> list[int]:
        """Token ids of the instruction with one placeholder (`audio_token_id`) per clip."""
        return self.fields["prompt"]

    @property
    def audio_token_id(self) -> int:
        return self.fields["audio_token_id"]

    @property
    def end_ids(self) -> list[int]:
        """Token ids that end a response, each by itself; `eos_token_id` in arl.json is one id or a list."""
        return as_ids(self.fields["eos_token_id"])

    @property
    def eos_token_id(self) -> int:
        """The end that supervised training writes behind a response: the first of `end_ids`."""
        return self.end_ids[0]

    @property
    def embedding_dim(self) -> int:
        return self.given("embedding_dim")

    @property
    def frontend_id(self) -> str:
        return self.fields.get("frontend", "")

    @property
    def llm_dir(self) -> Path:
        return self.path / LLM

    @property
    def adapter_dir(self) -> Path | None:
        """The adapter's folder; None where `llm/` alone is what the policy computes."""
        return self.path / ADAPTER if self.fields.get("base") else None

    @property
    def base_version(self) -> str:
        """The version of the weights in `llm/`: the policy's own where it has no adapter."""
        return self.fields.get("base") or self.version

    @property
    def predictor_dir(self) -> Path | None:
        """Where the frozen model lies that samples the other codes of a frame; None where a frame is one code."""
        return self.frontend_dir if self.fields.get("predictor") else None

    @property
    def frontend_dir(self) -> Path:
        return self.path / FRONTEND

    @property
    def state_dir(self) -> Path:
        return self.path / STATE

    def verify(self) -> None:
        """Hashes the weights against the version, and the frontend against its digest. ArlError when they differ: a
        half-copied or edited policy."""
        self.verify_part(FRONTEND)
        self._verify_weights(LLM, weights_digest(self.llm_dir), self.base_version)
        if self.adapter_dir is not None:
            self._verify_weights(ADAPTER, adapted_digest(self.base_version, self.adapter_dir), self.version)

    def _verify_weights(self, part: str, digest: str, version: str) -> None:
        if not version.endswith(digest):
            raise ArlError(
                f"{self.path}: the weights in {part}/ (sha256 {digest}…) are not those of version {version}; "
                "the folder is half-copied or was edited: take it from its source again"
            )

    def verify_part(self, part: str, remedy: str = "take the policy from its source again") -> None:
        """Hashes `frontend`, `state`, or of `llm` what is not weights, if it is there, against the digest in arl.json,
        if it has one. ArlError when they differ."""
        wanted, folder = (self.fields.get("digests") or {}).get(part), self.path / part
        if wanted is not None and folder.is_dir() and part_digest(folder) != wanted:
            raise ArlError(f"{folder}: not the files that this policy was written with: {remedy}")


def part_digest(folder: Path) -> str:
    """32 hex digits over the names and bytes of all files of a part; of `llm`, without the weights, whose digest is in
    the version."""
    digest, weights = hashlib.sha256(), set(folder.glob(WEIGHTS)) if folder.name == LLM else set()
    for file in sorted(file for file in folder.rglob("*") if file.is_file() and file not in weights):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:32]


def weights_digest(folder: Path) -> str:
    """First 12 hex digits of the SHA-256 over the names and bytes of every `*.safetensors` in `folder`, sorted."""
    files = sorted(folder.glob(WEIGHTS))
    if not files:
        raise ArlError(f"{folder}: no *.safetensors weights")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]


def adapted_digest(base: str, adapter: Path) -> str:
    """12 hex digits over the version of a base and all files of an adapter."""
    return hashlib.sha256(f"{base[-12:]} {part_digest(adapter)}".encode()).hexdigest()[:12]


def write_policy(path: Path, fields: dict[str, Any], fill: Callable[[Path], None]) -> Policy:
    """Writes a policy folder atomically: `fill(tmp)` makes `llm/` and the rest, then the marker, then one rename.

    `fields` needs every key of `arl.json` but `version`, which is computed here from `step` and the weights, or from
    `base` and the adapter: the base's weights are not read again.
    An existing policy at `path` is replaced only once the new one is whole. ArlError for anything else there.
    """
    path = path.resolve() if path.is_symlink() else path
    remove_stale(path)
    refuse_other(path)

    def fill_and_mark(folder: Path) -> None:
        fill(folder)
        llm, base = folder / LLM, fields.get("base")
        version = f"{fields['step']:06d}-{adapted_digest(base, folder / ADAPTER) if base else weights_digest(llm)}"
        digests = {part: part_digest(folder / part) for part in PARTS if (folder / part).is_dir()}
        marker = {**fields, "version": version, "digests": digests}
        (folder / MARKER).write_text(json.dumps(marker, indent=1, sort_keys=True) + "\n")

    write_folder(path, fill_and_mark)
    return Policy.open(path)


def refuse_other(path: Path, marker: str = MARKER, kind: str = "policy") -> None:
    """ArlError where a policy would replace something that is not one: a file, or a folder of other things."""
    if path.is_dir() and ((path / marker).is_file() or not any(path.iterdir())):
        return
    if path.exists():
        raise ArlError(f"{path}: exists and is no {kind}, so it is not replaced; give another --out")


def refuse_links_out(folder: Path) -> None:
    """ArlError for a link that leads out of the folder, and for what is neither file nor folder."""
    root = folder.resolve()
    for entry in folder.rglob("*"):
        if entry.is_symlink() and root not in entry.resolve().parents:
            raise ArlError(f"{entry}: a link out of the policy's folder, which is not followed; put the file there")
        if not entry.is_symlink() and not entry.is_file() and not entry.is_dir():
            raise ArlError(f"{entry}: neither a file nor a folder; the policy was tampered with")


def remove_stale(path: Path) -> None:
    """Removes what killed writers of `path` left beside it; moves a policy that was moved aside back if it is alone.

    What a writer on another node has left (`own_mark`) stays: whether it lives is known there only.
    """
    for left in sorted(path.parent.glob(f".{glob.escape(path.name)}.*-*")):
        kind, _, mark = left.name.removeprefix(f".{path.name}.").partition("-")
        pid, _, node = mark.partition("@")
        is_here = node in ("", os.uname().nodename)  # version 0.1 did not name its node
        if kind not in ("tmp", "old") or not pid.isdigit() or not is_here or is_alive(int(pid)):
            continue
        if kind == "old" and not path.exists():
            os.rename(left, path)
        else:
            shutil.rmtree(left)


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs (and is not ourselves)."""
    return pid != os.getpid() and Path(f"/proc/{pid}").exists()


def link_tree(source: Path, target: Path) -> None:
    """Copies a read-only folder by hard links where the file system allows, by bytes where not."""
    target.mkdir(parents=True)
    for file in sorted(source.rglob("*")):
        place = target / file.relative_to(source)
        if file.is_dir():
            place.mkdir(exist_ok=True)
            continue
        try:
            os.link(file.resolve(), place)
        except OSError:  # another file system, or one without hard links
            shutil.copy2(file, place)


def load_tokenizer(llm_dir: Path) -> Any:
    """The policy's tokenizer by the `tokenizers` library alone, which is quick to import."""
    from tokenizers import Tokenizer

    path = llm_dir / "tokenizer.json"
    if not path.is_file():
        raise ArlError(f"{path}: missing; the policy needs a fast tokenizer")
    return Tokenizer.from_file(str(path))
