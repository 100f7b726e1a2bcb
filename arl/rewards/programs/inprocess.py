"""A Python reward program in arl's own process: the same file, without the pipes.

The file runs under a module name of its own (so its `__main__` part does not run) with its folder on
`sys.path`, as if Python ran it. It is loaded once per content: a model it holds stays loaded between runs
of a resident stage. Left out: files with dependencies of their own (PEP 723), which run as a child.
"""

import functools
import hashlib
import importlib.util
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from arl.errors import ArlError, Terminated, UsageError
from arl.rewards.programs.contract import Answer
from arl.rewards.programs.decorator import Reward
from arl.rewards.programs.exits import exits_caught
from arl.rewards.programs.patience import TIMEOUT_S, within
from arl.rewards.programs.utterance import Utterance


class InProcessProgram:
    """Answers utterances by calling the file's `@reward` function; the same interface as `ChildProgram`."""

    def __init__(self, name: str, path: Path, arguments: Sequence[str] = (), timeout_s: float = TIMEOUT_S) -> None:
        self.name, self.timeout_s = name, timeout_s
        self._reward = load_reward(path)
        self._options: dict[str, Any] = self._reward.options(arguments, program=name)
        self._asked: deque[Utterance] = deque()
        self._answered = 0

    def send(self, utterance: Utterance) -> None:
        self._asked.append(utterance)

    def ready(self) -> bool:
        return bool(self._asked)

    def receive(self, timeout_s: float | None = None) -> Answer:
        """The answer to the oldest utterance sent. ArlError when it fails, is overdue or breaks the contract."""
        utterance = self._asked.popleft()
        self._answered += 1
        line = f"line {self._answered} (key {utterance.key!r})"
        where, missing = f"{self.name}: {line}", f"{self.name}: no answer to {line}"
        try:
            with exits_caught(), within(missing, self.timeout_s if timeout_s is None else timeout_s):
                return self._reward.answer(utterance, where, **self._options)
        except (ArlError, KeyboardInterrupt, Terminated):
            raise
        except SystemExit as error:
            raise ArlError(f"{where}: the program ended without an answer (exit code {error.code})") from error
        except BaseException as error:
            raise ArlError(f"{where}: {type(error).__name__}: {error} (ARL_DEBUG=1 shows where)") from error

    def finish(self) -> None:
        """No more utterances: nothing to do."""

    def close(self, timeout_s: float | None = None) -> None:
        """The end: nothing to do."""

    def kill(self) -> None:
        """Forgets the utterances not yet answered."""
        self._asked.clear()


def load_reward(path: Path) -> Reward:
    """The one `@reward` function of a Python file. ArlError when it cannot be run; UsageError when it has not one."""
    return _load(path.resolve(), hashlib.sha256(path.read_bytes()).hexdigest())


def load_module(path: Path, digest: str) -> ModuleType:
    """The file, run under a module name of its own. ArlError when it does not run."""
    name = f"arl_program_{path.stem}_{digest[:12]}".replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a module up by its name
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        with exits_caught():
            spec.loader.exec_module(module)
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # SystemExit too: a program may not end the stage
        del sys.modules[name]
        raise ArlError(f"{path}: {type(error).__name__}: {error} (ARL_DEBUG=1 shows where)") from error
    return module


@functools.cache
def _load(path: Path, digest: str) -> Reward:
    module = load_module(path, digest)
    name = module.__name__
    own = {id(v): v for v in vars(module).values() if isinstance(v, Reward) and v.function.__module__ == name}
    if len(own) != 1:
        raise UsageError(
            f"{path}: has {len(own)} @reward functions, one is expected; "
            f"a program that reads its own input runs with --child or as a command, 'python {path.name}'"
        )
    return next(iter(own.values()))
