"""What a `--with SPEC` names.

    SPEC    = PROGRAM [ARGUMENT…] ['=' NUMBER]      split like a shell line; quote a SPEC that has spaces
    PROGRAM = NAME          a shipped program: wer, exact (stages/reward/NAME.py or .jq)
            | FILE.py       a @reward file, in process; with --child, or a PEP 723 header, a program
            | FILE.jq       run by jq
            | COMMAND       any other executable file, or a command on PATH: 'jq -c …'

A `=NUMBER` at the end is the weight of a `--with` (default 1) or the value of a `--gate`. It always is, so an
option of the program is written `--threshold 3`, not `--threshold=3`. A file beats a shipped program only
when it is written with its suffix or a slash.
"""

import contextlib
import hashlib
import math
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import arl
from arl.errors import ArlError, UsageError
from arl.rewards.programs.child import ChildProgram
from arl.rewards.programs.contract import Answer
from arl.rewards.programs.inprocess import InProcessProgram, load_reward
from arl.rewards.programs.patience import TIMEOUT_S
from arl.rewards.programs.shipped import program_name, shipped_dir, shipped_rewards
from arl.rewards.programs.utterance import Utterance

_VALUE = re.compile(r"(?<![=<>!\s])=([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*$")
_PEP_723 = re.compile(rb"(?m)^# /// script\s*$")


class Program(Protocol):
    """A running reward program: `send` utterances, `receive` answers in order, `finish`, `close`; `kill` on error."""

    name: str

    def send(self, utterance: Utterance) -> None: ...
    def ready(self) -> bool: ...
    def receive(self, timeout_s: float | None = None) -> Answer: ...
    def finish(self) -> None: ...
    def close(self, timeout_s: float | None = None) -> None: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class ProgramSpec:
    """A resolved program, not yet running. `name` is its component's; `file` is None for a command on PATH."""

    name: str
    arguments: tuple[str, ...]
    file: Path | None = None
    command: tuple[str, ...] = ()
    in_process: bool = False
    has_own_dependencies: bool = False

    def fingerprint(self) -> dict[str, Any]:
        """What makes its rewards: program, arguments, and the SHA-256 of its file and of files among the arguments."""
        files = [*filter(None, [self.file]), *(Path(word) for word in self.arguments if _is_file(word))]
        return {
            "name": self.name,
            "program": (self.file or Path(self.command[0])).name,
            "arguments": [Path(word).name if _is_file(word) else word for word in self.arguments],
            "sha256": [_sha256(file) for file in files],
        }

    @property
    def is_pure(self) -> bool:
        """Whether it may run in several processes at once: a `@reward(pure=True)` function, in process."""
        return self.in_process and self.file is not None and load_reward(self.file).pure

    @contextmanager
    def open(self, timeout_s: float = TIMEOUT_S) -> Iterator[Program]:
        """Starts the program; at the end of the block nothing of it is left running. timeout_s: for one answer."""
        with contextlib.ExitStack() as stack:
            program: Program
            if self.in_process and self.file:
                program = InProcessProgram(self.name, self.file, self.arguments, timeout_s)
            else:
                environment = stack.enter_context(_arl_importable(self.has_own_dependencies))
                program = ChildProgram(self.name, [*self.command, *self.arguments], environment, timeout_s)
            stack.callback(program.kill)
            yield program


def split_value(text: str) -> tuple[str, float | None]:
    """Splits `PROGRAM=0.5` into ("PROGRAM", 0.5); the number is None when there is none."""
    found = _VALUE.search(text)
    if found is None:
        return text.strip(), None
    value = float(found[1])
    if not math.isfinite(value):
        raise UsageError(f"{text}: {found[1]} is too large")
    return text[: found.start()].strip(), value


def resolve(text: str, child: bool = False) -> ProgramSpec:
    """Finds the program that `text` (without its `=NUMBER`) names. UsageError when there is none.

    child: run Python files as programs rather than in process.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--with {text!r}: {error}") from error
    if not words:
        raise UsageError("--with needs a program; shipped: " + ", ".join(shipped_rewards()))
    first, arguments = words[0], tuple(words[1:])
    file = _find_file(first)
    if file is not None and file.suffix == ".py":
        return _python(file, arguments, child)
    if file is not None and file.suffix == ".jq":
        command = (_need("jq", f"{file.name} needs jq"), "-c", "--unbuffered", "-f", str(file))
        return ProgramSpec(program_name(file), arguments, file, command)
    if file is not None:
        if not os.access(file, os.X_OK):
            raise UsageError(f"{file}: not executable; chmod +x it, or name its interpreter: 'INTERPRETER {first}'")
        return ProgramSpec(program_name(file), arguments, file, (str(file.absolute()),))
    if (command_file := shutil.which(first)) is not None:
        return ProgramSpec(Path(first).stem, arguments, None, (command_file,))
    raise UsageError(
        f"--with {first}: no such program, file or command; "
        f"shipped: {', '.join(shipped_rewards())}; a file here: ./{first}"
    )


def _find_file(word: str) -> Path | None:
    """The file a word names: with a slash or suffix a path first, otherwise a shipped program; None for a command."""
    path, names = Path(word), shipped_rewards()
    if "/" in word:
        if not path.is_file():
            raise UsageError(f"{word}: no such file")
        return path
    if path.suffix in (".py", ".jq"):
        if path.is_file():
            return path
        in_stages = shipped_dir() / "reward" / word
        if in_stages.is_file():
            return in_stages
        raise UsageError(f"{word}: no such file; shipped: {', '.join(names)}")
    return names.get(word)


def _python(file: Path, arguments: tuple[str, ...], child: bool) -> ProgramSpec:
    if _PEP_723.search(file.read_bytes()):
        uv = _need("uv", f"{file.name} lists its dependencies (PEP 723), which needs uv")
        return ProgramSpec(
            program_name(file), arguments, file, (uv, "run", "--script", str(file)), has_own_dependencies=True
        )
    return ProgramSpec(program_name(file), arguments, file, (sys.executable, str(file)), in_process=not child)


def _need(tool: str, why: str) -> str:
    """The path of `tool`, on PATH or beside this Python. ArlError when it is not installed."""
    found = shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))
    if found is None:
        raise ArlError(f"{why}: install {tool} and put it on PATH")
    return found


@contextmanager
def _arl_importable(alone: bool) -> Iterator[dict[str, str]]:
    """The environment in which `from arl import reward` works in a child.

    alone: nothing else of this Python's packages may be seen there, so arl is linked into an empty folder.
    """
    package = Path(arl.__file__).resolve().parent
    inherited = [] if alone else [path for path in [os.environ.get("PYTHONPATH")] if path]
    with tempfile.TemporaryDirectory(prefix="arl-program-") if alone else contextlib.nullcontext() as folder:
        if folder is not None:
            (Path(folder) / "arl").symlink_to(package, target_is_directory=True)
        yield {"PYTHONPATH": os.pathsep.join([str(folder or package.parent), *inherited])}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # a jq filter can be longer than a file name may be
        return False
