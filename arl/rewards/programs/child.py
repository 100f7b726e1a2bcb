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
import time
from collections import deque
from collections.abc import Mapping, Sequence

from arl.errors import ArlError
from arl.rewards.programs.contract import Answer, parse_answer, utterance_line
from arl.rewards.programs.patience import TIMEOUT_S, wait_for
from arl.rewards.programs.utterance import Utterance

LINES_AHEAD = 1024  # lines read from the shards before the program has taken them
MOST_BYTES = 16 << 20  # of an answer
END = b""  # of the program's output; a line has at least its newline
PIPE_S = 1.0  # for the last lines of a program that has ended
GRACE_S = 5.0  # between SIGTERM and SIGKILL, and for the exit of a program that closed its output


class ChildProgram:
    """A running reward program. `send` utterances, `receive` their answers in the same order, then `close`.

    Every failure is an ArlError naming the program, the line and the key. `kill` is safe at any time.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.name, self.timeout_s = name, timeout_s
        self._asked: deque[Utterance] = deque()
        self._sent = 0
        self._answered = 0
        self._ended_at: float | None = None
        self._killed = False
        self._lines: queue.Queue[bytes | None] = queue.Queue(LINES_AHEAD)
        self._answers: queue.Queue[bytes] = queue.Queue()
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
        """Queues one utterance; waits while the program is `LINES_AHEAD` lines behind, at most its timeout."""
        line = utterance_line(utterance)
        self._asked.append(utterance)
        self._sent += 1

        def put(seconds: float) -> bool | None:
            with contextlib.suppress(queue.Full):
                self._lines.put(line, timeout=seconds)
                return True
            return None

        wait_for(put, f"{self.name}: no answer to {self._where()}", self.timeout_s)

    def ready(self) -> bool:
        """Whether `receive` returns (or fails) at once."""
        return not self._answers.empty()

    def receive(self, timeout_s: float | None = None) -> Answer:
        """The answer to the oldest utterance not yet answered. ArlError when it breaks the contract or is missing.

        timeout_s: by default the program's own, times the utterances sent for the first answer, as it may answer only
        at the end of its input.
        """
        utterance, number = self._asked[0], self._answered + 1
        limit_s = timeout_s or self.timeout_s * (1 if self._answered else len(self._asked))
        line = wait_for(self._next_line, f"{self.name}: no answer to {self._where()}", limit_s)
        if line == END:
            self._answers.put(END)
            raise ArlError(self._why_ended(number, utterance.key))
        if len(line) > MOST_BYTES:
            raise ArlError(
                f"{self.name}: {self._where()}: an answer of more than {MOST_BYTES >> 20} MB without an end of line"
            )
        self._asked.popleft()
        self._answered = number
        return parse_answer(line, utterance, self.name, number)

    def finish(self) -> None:
        """Says that no more utterances follow: the program reads the end of its input."""
        self._lines.put(None)

    def close(self, timeout_s: float | None = None) -> None:
        """After the last answer: waits for the program's end. ArlError when it writes more or exits with an error."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        missing = f"{self.name}: still running after the end of its input"
        overdue = f"{self.name}: still running {limit_s:g} s after the end of its input"
        if wait_for(self._next_line, missing, limit_s, overdue) != END:
            raise ArlError(f"{self.name}: line {self._answered + 1} is one too many: it had {self._answered} to answer")
        if code := wait_for(self._exit_code, missing, limit_s, overdue):
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
        """Queues the program's output lines, then END; stops at a line that nobody has asked for, or without an end."""
        stdout = self._process.stdout
        assert stdout is not None  # Popen was given a pipe
        count = 0
        while line := stdout.readline(MOST_BYTES + 1):
            self._answers.put(line)
            count += 1
            if count > self._sent or len(line) > MOST_BYTES:
                break
        self._answers.put(END)

    def _where(self) -> str:
        return f"line {self._answered + 1} (key {self._asked[0].key!r})"

    def _next_line(self, seconds: float) -> bytes | None:
        """The next line, END, or None after `seconds`. END, too, when only what the program started holds the pipe."""
        with contextlib.suppress(queue.Empty):
            return self._answers.get(timeout=seconds)
        if self._process.poll() is None:
            return None
        self._ended_at = self._ended_at or time.monotonic()
        return END if time.monotonic() - self._ended_at > PIPE_S else None

    def _exit_code(self, seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

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
