"""Waiting for an engine whose process is stopped: said, and not for ever."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from arl.engine import connection
from arl.engine.connection import Connection, EngineGone
from arl.engine.state import EngineInfo
from arl.runtime.process import start_time, stat_fields


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineInfo]:
    """An engine whose process is stopped and whose port takes requests without an answer."""
    monkeypatch.setattr(connection, "LOOK_S", 0.05)
    monkeypatch.setattr(connection, "STOPPED_S", 0.3)
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    os.kill(process.pid, signal.SIGSTOP)
    while (stat_fields(process.pid) or ["?"])[0] != "T":
        pass
    with socket.create_server(("127.0.0.1", 0)) as server:
        shown = {
            "policy": "p",
            "version": "v",
            "log": str(tmp_path / "engine.log"),
            "device": "cpu",
            "dtype": "float32",
        }
        ids = {"audio_token_id": 4, "eos_token_id": 2, "temporary": str(tmp_path), "api_key": "k"}
        place = {"pid": process.pid, "pgid": process.pid, "started": start_time(process.pid) or 0}
        yield EngineInfo(state="ready", port=server.getsockname()[1], **place, **shown, **ids)
    process.kill()
    process.wait()


def test_a_stopped_process_is_said_and_given_up(silent: EngineInfo, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EngineGone, match=f"process {silent.pid} has been stopped .*kill -CONT {silent.pid}"):
        Connection(silent, 60).call("GET", "/model_info")
    assert capsys.readouterr().err.count("waiting for its stopped process") == 1


def test_requests_for_hypotheses_are_given_up_too(silent: EngineInfo) -> None:
    async def ask() -> None:
        asked = Connection(silent, 60)
        await asyncio.gather(*(asked.post("/generate", {}) for _ in range(3)))

    with pytest.raises(EngineGone, match="has been stopped"):
        asyncio.run(ask())


def test_a_process_that_goes_on_is_waited_for(silent: EngineInfo, capsys: pytest.CaptureFixture[str]) -> None:
    os.kill(silent.pid, signal.SIGCONT)
    with pytest.raises(EngineGone, match="does not answer"):
        Connection(silent, 0.6).call("GET", "/model_info")
    assert "stopped" not in capsys.readouterr().err
