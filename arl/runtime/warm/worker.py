"""A stage's resident process: runs one job after the other as a new process would, and keeps what it has loaded.

The main thread runs the jobs, because signals and KeyboardInterrupt belong to it; one thread per connection reads the
request, waits for its turn and passes signals on. A job has the client's streams, folder, environment and umask. A
job whose client has gone is ended as by SIGTERM. What a job keeps between runs is model_cache.py's business.

    python -m arl.runtime.warm.worker FOLDER STAGE
"""

import gc
import importlib
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from arl.cli.main import main as run_command_line
from arl.runtime.openmp import make_threads_patient
from arl.runtime.stage import job_began
from arl.runtime.stages import BY_NAME
from arl.runtime.warm.identity import identity
from arl.runtime.warm.messages import Closed, is_own_peer, open_socket, receive, send
from arl.runtime.warm.start import forget_worker, write_worker
from arl.runtime.warm.state import socket_name

GIVE_UP_S = 20.0  # after a job's client has gone and the job does not end


@dataclass
class WarmJob:
    """A command line to run. done is set when `code`, its exit code, is known."""

    request: dict[str, Any]
    streams: list[int]
    code: int = 1
    done: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Serves one stage until it is told to stop or finds that its code has changed."""

    def __init__(self, folder: str, stage: str) -> None:
        self.folder, self.stage = folder, stage
        self.identity = identity()
        self.jobs: queue.Queue[WarmJob | None] = queue.Queue()
        self.turn = threading.Lock()  # held by the connection whose job runs
        self.signals = threading.Lock()  # held while `current` changes or a signal is sent to it
        self.current: WarmJob | None = None
        self.finished = 0
        self.main = threading.get_ident()
        self.is_known = False  # others can find it: it no longer depends on its starter

    def leave_with_starter(self) -> None:
        """Ends this process if its starter, whose pipe is the standard input, ends before others can find it."""
        starter = os.dup(0)
        devnull = os.open(os.devnull, os.O_RDONLY)
        os.dup2(devnull, 0)
        os.close(devnull)

        def wait() -> None:
            os.read(starter, 1)
            os.close(starter)
            if not self.is_known:
                print("arl: the starter is gone, leaving", file=sys.stderr, flush=True)
                os._exit(1)

        threading.Thread(target=wait, daemon=True).start()

    def serve(self) -> None:
        """Takes jobs until the end of the worker. Call from the main thread."""
        signal.signal(signal.SIGINT, _ignore)
        signal.signal(signal.SIGTERM, lambda *_: self.jobs.put(None))
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, socket_name(self.stage)))
        with open_socket(self.folder, socket_name(self.stage), connect=False) as listening:
            listening.listen(64)
            self.is_known = True
            write_worker(self.folder, self.stage, self.identity)
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
            try:
                while (job := self.jobs.get()) is not None:
                    self._run(job)
            finally:
                forget_worker(self.folder, self.stage, os.getpid())

    def _accept(self, listening: socket.socket) -> None:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(Closed, OSError, KeyError, ValueError):
            if not is_own_peer(connection):
                return
            request, streams = receive(connection)
            try:
                if request["do"] == "status":
                    send(connection, self._status())
                elif request["identity"] != self.identity:
                    send(connection, {"state": "runs other code or another environment"})
                else:
                    self._serve_job(connection, WarmJob(request, streams))
            finally:
                for stream in streams:
                    os.close(stream)

    def _status(self) -> dict[str, Any]:
        job = self.current
        return {
            "pid": os.getpid(), "identity": self.identity, "jobs": self.finished, "memory_mb": memory_mb(),
            "busy": None if job is None else job.request["pid"],
        }  # fmt: skip

    def _serve_job(self, connection: socket.socket, job: WarmJob) -> None:
        busy = self.current
        if not self.turn.acquire(blocking=False):
            send(connection, {"state": "busy", "pid": busy.request["pid"] if busy else 0})
            self.turn.acquire()
        try:
            send(connection, {"state": "begun", "worker": os.getpid()})
            self.jobs.put(job)
            threading.Thread(target=self._pass_signals_on, args=(connection, job), daemon=True).start()
            job.done.wait()
            send(connection, {"exit": job.code})
        finally:
            self.turn.release()

    def _pass_signals_on(self, connection: socket.socket, job: WarmJob) -> None:
        """Bytes from the client are signal numbers; the end of its stream is the end of the job."""
        while not job.done.is_set():
            try:
                number = connection.recv(1)
            except OSError:
                return  # closed here: the job is done
            self._signal(job, number[0] if number else signal.SIGTERM)
            if not number:
                if not job.done.wait(GIVE_UP_S):
                    os._exit(1)  # it neither ends nor has anyone who waits for it
                return

    def _signal(self, job: WarmJob, number: int) -> None:
        with self.signals:
            if self.current is job:
                signal.pthread_kill(self.main, number)

    def _run(self, job: WarmJob) -> None:
        home = dict(os.environ)
        with self.signals:
            self.current = job
        try:
            job.code = _as_own_process(job.request, job.streams)
        except (KeyboardInterrupt, SystemExit) as error:  # a signal between the job's end and here
            job.code = 130 if isinstance(error, KeyboardInterrupt) else 143
        finally:
            with self.signals:
                self.current = None
            _quietly(lambda: signal.signal(signal.SIGINT, _ignore))
            _quietly(lambda: signal.signal(signal.SIGTERM, lambda *_: self.jobs.put(None)))
            _take_streams(None)
            os.environ.clear()
            os.environ.update(home)
            os.chdir("/")
            self.finished += 1
            job.done.set()
            gc.collect()
            _free_device()


def _as_own_process(request: dict[str, Any], streams: list[int]) -> int:
    """Runs the command line with the client's streams, folder, environment and umask; its exit code."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    before = os.umask(request["umask"])
    _take_streams(streams)
    sys.argv = ["arl", *request["arguments"]]
    job_began(request["began"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_command_line()
        code: Any = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        os.umask(before)
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 120  # as Python ends when its last output cannot be written
    return code or 0


def _take_streams(streams: list[int] | None) -> None:
    """Makes these descriptors the standard streams; None gives the worker its own back (nothing, and its log)."""
    if streams is None:
        devnull = os.open(os.devnull, os.O_RDWR)
        streams, given = [devnull, devnull, _LOG], False
    else:
        devnull, given = -1, True
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    if not given:
        os.close(devnull)
    for old in (sys.stdin, sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            old.close()  # what it could not write has been reported
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, buffering=1 if os.isatty(1) else -1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def _free_device() -> None:
    """Gives back what torch keeps of the GPU for later, which a job that failed awake has left."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def memory_mb() -> int:
    """Resident memory of this process, in MB (1e6 bytes)."""
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000


def _ignore(*_: object) -> None:
    """A signal for a job that has just ended."""


def _quietly(action: Callable[[], object]) -> None:
    """Does it, twice if a signal for the job that has just ended comes in between."""
    try:
        action()
    except (KeyboardInterrupt, SystemExit):
        action()


_LOG = 2


def main() -> None:
    """Preloads the stage's modules, then serves until it is stopped."""
    global _LOG
    folder, stage = sys.argv[1:3]
    started = time.monotonic()
    worker = Worker(folder, stage)
    worker.leave_with_starter()
    make_threads_patient()
    _LOG = os.dup(2)
    os.chdir("/")
    row = BY_NAME[stage]
    for name in (row.module, *(row.preloads or ())):
        importlib.import_module(name)
    if row.keeps_models:
        from arl.runtime.model_cache import MODEL_CACHE

        MODEL_CACHE.is_resident = True
    gc.collect()
    gc.freeze()  # what is imported stays: the collection after each job need not look at it
    print(f"{stage}: ready after {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    worker.serve()


if __name__ == "__main__":
    main()
