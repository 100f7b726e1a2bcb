"""A scheduler or a server that ends is noticed, without SGLang."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from arl.engine.processes import SchedulerWatch
from arl.runtime.daemon import session_members


def serving(script: str) -> "subprocess.Popen[str]":
    """bash as a server whose scheduler is called $NAME: with that name in its script bash would be one too."""
    environment = {**os.environ, "NAME": "sglang::scheduler"}
    return subprocess.Popen(
        ["bash", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )


def test_a_scheduler_that_was_seen_and_is_gone(tmp_path: Path) -> None:
    server = serving('(exec -a "$NAME" sleep 60) & echo $!; sleep 60')
    try:
        assert server.stdout is not None
        scheduler, watch = int(server.stdout.readline()), SchedulerWatch(server.pid)
        while b"sglang::scheduler" not in Path(f"/proc/{scheduler}/cmdline").read_bytes():
            assert watch.is_whole()  # none yet: it is still to come
            time.sleep(0.01)
        assert watch.is_whole()
        os.kill(scheduler, signal.SIGKILL)
        while Path(f"/proc/{scheduler}").exists() and watch.is_whole():
            time.sleep(0.01)
        assert not watch.is_whole()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_what_a_scheduler_forks_is_none() -> None:
    """A fork has its name until it runs another program: here one that ends while the scheduler stays."""
    forks = "(sleep 1; :) & wait; echo over; sleep 60"
    server = serving(f"(exec -a \"$NAME\" bash -c '{forks}') & sleep 60")
    try:
        watch, named = SchedulerWatch(server.pid), 0
        while named < 2:
            commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in session_members(server.pid)]
            named = sum(command.startswith("sglang::scheduler") for command in commands)
            assert watch.is_whole()
        assert server.stdout is not None and server.stdout.readline() == "over\n" and watch.is_whole()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_a_server_that_fails_ends_its_children_and_says_why() -> None:
    code = (
        "import subprocess, sys; from arl.engine.serve import leave; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); leave('OSError: no such thing')"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True)
    _, said = server.communicate(timeout=30)
    assert server.returncode == 1 and said.splitlines()[-1] == "arl: OSError: no such thing"
    assert session_members(server.pid) == []
