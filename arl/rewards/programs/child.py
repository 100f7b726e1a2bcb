"""A reward program as a child process: any language, its own dependencies, one process for the whole run.

Two threads keep the pipes moving, so that neither side can block the other: one feeds lines to the program,
one collects its answers. A program may therefore answer line by line or only at the end of its input. Its
stderr passes through. It is killed, with what it started, when the run fails.
"""

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence

from arl.errors import ArlError
from arl.rewards.programs.contract import Answer, parse_answer, utterance_line
from arl.rewards.programs.utterance import Utterance

LINES_AHEAD = 1024  # lines read from the shards before the program has taken them
GRACE_S = 5.0  # between SIGTERM and SIGKILL, and for the exit of a program that closed its output


class ChildProgram:
    """A running reward program. `send` utterances, `receive` their answers in the same order, then `close`.

    Every failure is an ArlError naming the program, the line and the key. `kill` is safe at any time.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._asked: deque[Utterance] = deque()
        self._answered = 0
        self._killed = False
        self._lines: queue.Queue[bytes | None] = queue.Queue(LINES_AHEAD)
        self._answers: queue.Queue[bytes | None] = queue.Queue()
        environment = None if environment is None else {**os.environ, **environment}
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
            )
        except OSError as error:
            raise ArlError(f"{name}: cannot run {command[0]!r} ({error.strerror})") from error
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._feed, self._collect)]
        for thread in self._threads:
            thread.start()

    def send(self, utterance: Utterance) -> None:
        """Queues one utterance; waits while the program is `LINES_AHEAD` lines behind."""
        self._asked.append(utterance)
        self._lines.put(utterance_line(utterance))

    def ready(self) -> bool:
        """Whether `receive` returns (or fails) at once."""
        return not self._answers.empty()

    def receive(self, timeout_s: float | None = None) -> Answer:
        """The answer to the oldest utterance not yet answered. ArlError when it breaks the contract or is missing."""
        utterance, number = self._asked[0], self._answered + 1
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            where = f"line {number} (key {utterance.key!r})"
            raise ArlError(f"{self.name}: no answer to {where} within {timeout_s} s") from None
        if line is None:
            self._answers.put(None)
            raise ArlError(self._why_ended(number, utterance.key))
        self._asked.popleft()
        self._answered = number
        return parse_answer(line, utterance, self.name, number)

    def finish(self) -> None:
        """Says that no more utterances follow: the program reads the end of its input."""
        self._lines.put(None)

    def close(self, timeout_s: float | None = None) -> None:
        """After the last answer: waits for the program's end. ArlError when it writes more or exits with an error."""
        try:
            line = self._answers.get(timeout=timeout_s)
            code = self._process.wait(timeout_s) if line is None else None
        except (queue.Empty, subprocess.TimeoutExpired):
            raise ArlError(f"{self.name}: still running {timeout_s} s after the end of its input") from None
        if line is not None:
            raise ArlError(f"{self.name}: line {self._answered + 1} is one too many: it had {self._answered} to answer")
        if code:
            raise ArlError(f"{self.name}: {_exit(code)} after its last answer; its own message is above")
        self.kill()

    def kill(self) -> None:
        """Ends the program and what it started, and waits for the threads. A second call does nothing."""
        if self._killed:
            return
        self._killed = True
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):  # ended already
                os.killpg(self._process.pid, signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
                break
        with contextlib.suppress(queue.Full):  # a survivor holds the pipe; the thread is a daemon
            self._lines.put(None, timeout=GRACE_S)
        for thread in self._threads:
            thread.join(GRACE_S)
        if self._process.stdout is not None and not self._threads[1].is_alive():
            self._process.stdout.close()

    def _feed(self) -> None:
        """Writes queued lines to the program until None; flushes whenever the queue runs empty."""
        stdin = self._process.stdin
        assert stdin is not None  # Popen was given a pipe
        try:
            while (line := self._lines.get()) is not None:
                stdin.write(line)
                if self._lines.empty():
                    stdin.flush()
        except OSError:  # it stopped reading; whether that is a failure shows in its answers and its exit
            while self._lines.get() is not None:
                continue
        with contextlib.suppress(OSError):  # closing flushes, and the program may be gone
            stdin.close()

    def _collect(self) -> None:
        """Queues the program's output lines, then None."""
        stdout = self._process.stdout
        assert stdout is not None  # Popen was given a pipe
        for line in stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _why_ended(self, number: int, key: str) -> str:
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return f"{self.name}: closed its output without an answer to line {number} (key {key!r})"
        if code:
            return f"{self.name}: {_exit(code)} without an answer to line {number} (key {key!r}); see its message above"
        return f"{self.name}: ended without an answer to line {number} (key {key!r})"


def _exit(code: int) -> str:
    """A process's return code in words (negative: the signal that killed it)."""
    return f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
