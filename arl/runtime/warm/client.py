"""The command line's side of a warm stage: hand the job to the worker, pass signals on, end as it ended.

A worker that is dead, hung or of other code or environment is replaced first, so that a warm job is what a cold one
would be. Imported before typer, hence light (25 ms a command line, with Python's own start): no pathlib, typing, json,
hashlib; no subprocess until a worker has to be replaced.

    code = forward("update", sys.argv[1:])   # None: no worker of this stage, run it here
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from arl.runtime.private import check_private
from arl.runtime.process import age_s
from arl.runtime.ranks import part
from arl.runtime.stages import CAN_BE_WARM
from arl.runtime.warm.identity import identity
from arl.runtime.warm.messages import Closed, open_socket, receive, send
from arl.runtime.warm.state import record_path, socket_name, warm_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUNG_S = 20.0  # an idle or busy worker answers within milliseconds
FORWARDED = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}


def forward(stage: str, arguments: list[str]) -> int | None:
    """Runs `arl` with these arguments in the stage's worker; its exit code, or None when the stage is not warm.

    One of several processes that share the work (ranks.py) runs it itself: they would queue for one worker; so does one
    that only ends with the loop (--watch). ArlError
    where others can write to the warm folder: a job has this user's environment.
    """
    folder = warm_folder()
    if stage not in CAN_BE_WARM or folder is None or not os.path.exists(record_path(folder, stage)):
        return None
    if part()[1] > 1:
        return None
    if {"-h", "--help", "--watch"} & set(arguments) or not _has_streams():
        return None
    check_private(folder)
    for _ in range(3):  # another client may be replacing the worker too
        try:
            return _run(folder, stage, arguments)
        except _Unfit as reason:
            print(f"arl: the warm {stage} worker {reason}: starting another", file=sys.stderr, flush=True)
            from arl.runtime.warm.start import replace

            replace(folder, stage)
    return None


class _Unfit(Exception):
    """The worker cannot take the job; another one could."""


def _run(folder: str, stage: str, arguments: list[str]) -> int:
    try:
        connection = open_socket(folder, socket_name(stage), connect=True)
    except OSError as error:
        raise _Unfit("is gone") from error
    with connection:
        try:
            send(connection, _job(stage, arguments), (0, 1, 2))
            pid = _wait_for_turn(connection, stage)
        except TimeoutError as error:
            raise _Unfit(f"does not answer for {HUNG_S:.0f} s") from error
        except Closed as error:
            raise _Unfit("is gone") from error
        return _attend(connection, stage, pid)


def _job(stage: str, arguments: list[str]) -> dict[str, Any]:
    mask = os.umask(0)
    os.umask(mask)
    return {
        "do": "job", "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ), "umask": mask,
        "identity": identity(), "began": time.monotonic() - age_s(), "pid": os.getpid(),
    }  # fmt: skip


def _wait_for_turn(connection: socket.socket, stage: str) -> int:
    """Returns when the job has begun, with the worker's pid. _Unfit for a worker of other code or environment."""
    connection.settimeout(HUNG_S)
    while True:
        answer, _ = receive(connection)
        if answer["state"] == "begun":
            connection.settimeout(None)
            return int(answer["worker"])
        if answer["state"] == "busy":
            print(f"arl: waiting for the warm {stage} worker (job of pid {answer['pid']})", file=sys.stderr, flush=True)
            connection.settimeout(None)
        else:
            raise _Unfit(answer["state"])


def _attend(connection: socket.socket, stage: str, pid: int) -> int:
    """Passes signals on until the job has ended; its exit code."""
    before = {number: signal.signal(number, lambda n, _: _pass_on(connection, n)) for number in FORWARDED}
    try:
        answer, _ = receive(connection)
        return int(answer["exit"])
    except Closed:
        print(f"arl: the warm {stage} worker (pid {pid}) died at its work; run the command again", file=sys.stderr)
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on(connection: socket.socket, number: int) -> None:
    try:
        connection.send(bytes([FORWARDED[signal.Signals(number)]]))
    except OSError:
        return  # the job has ended in this moment; its exit code comes


def _has_streams() -> bool:
    """Whether all three standard streams are open: a closed one cannot be passed on."""
    try:
        for stream in (0, 1, 2):
            os.fstat(stream)
    except OSError:
        return False
    return True
