"""Start, stop and find: one engine for two starters, nothing left behind, clear failures."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from engine_place import Place, Running

from arl.engine import server
from arl.engine.client import Engine
from arl.engine.processes import make_temporary, remove_left
from arl.engine.served_model import ServedModel
from arl.engine.state import EngineInfo, read_info, write_info
from arl.errors import ArlError
from arl.policy import MARKER, Policy
from arl.runtime.daemon import session_members
from arl.runtime.process import start_time
from tests.tiny import make_tiny_policy


def info_of(pid: int, started: int, folder: Path) -> EngineInfo:
    shown = {"policy": "p", "version": "v", "log": str(folder / "engine.log"), "device": "cpu", "dtype": "float32"}
    ids = {"audio_token_id": 4, "eos_token_id": 2, "temporary": str(folder / "tmp"), "port": 1, "api_key": "k"}
    return EngineInfo(state="ready", pid=pid, pgid=pid, started=started, **shown, **ids)


@pytest.mark.engine
def test_two_starters_make_one_private_engine(running: Running, place: Place) -> None:
    first, second = running.started
    assert first.pid == second.pid and first.state == "ready"
    assert stat.S_IMODE((place.state / "engine.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(place.state.stat().st_mode) == 0o700
    assert (first.dtype, first.device, first.version) == ("float32", "cpu", Policy.open(place.policy).version)
    key = first.api_key
    assert all(key not in Path(f"/proc/{pid}/cmdline").read_text() for pid in session_members(first.pgid))
    assert key not in str(running.client.info()) and key not in str(first.public())


def listening_addresses(session: int) -> list[str]:
    """Where the session's processes listen, as /proc/net has it: ADDRESS:PORT in hexadecimal, the bytes reversed."""
    sockets = set()
    for pid in session_members(session):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                sockets.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


@pytest.mark.engine
def test_everything_listens_on_loopback(running: Running) -> None:
    """SGLang's server, its ranks' sockets and torch's store."""
    addresses = listening_addresses(running.started[0].pgid)
    assert addresses and all(address.startswith("0100007F:") for address in addresses), addresses


@pytest.mark.engine
def test_starting_again_serves_the_policy_asked_for(engine: Engine, place: Place) -> None:
    info = server.start(place.next_policy, place.state)
    assert info.version == engine.version() == Policy.open(place.next_policy).version
    assert Path(info.policy) == place.next_policy


@pytest.mark.engine
def test_released_memory_comes_back_with_given_weights(engine: Engine, place: Place) -> None:
    engine.release()
    engine.release()
    assert not engine.is_ready()
    policy = Policy.open(place.next_policy)
    engine.resume(ServedModel.of(policy))
    assert engine.is_ready() and engine.version() == policy.version


@pytest.mark.engine
def test_a_killed_starter_leaves_an_engine_that_can_be_found_and_stopped(place: Place, tmp_path: Path) -> None:
    call = "import sys; from arl.engine.server import start; start(sys.argv[1], sys.argv[2], device='cpu')"
    starter = subprocess.Popen([sys.executable, "-c", call, str(place.policy), str(tmp_path)])
    while read_info(tmp_path) is None:
        assert starter.poll() is None
        time.sleep(0.02)
    starter.kill()
    starter.wait()
    found = server.status(tmp_path)
    assert found is not None and found.state == "starting"
    with pytest.raises(ArlError, match="still starting"):
        server.connect(tmp_path)
    info = server.start(place.policy, tmp_path)
    assert (info.pid, info.state) == (found.pid, "ready")
    os.kill(info.pid, signal.SIGKILL)  # the worst case: the children are orphans
    while start_time(info.pid) is not None:
        time.sleep(0.02)
    assert server.status(tmp_path) is None
    server.stop(tmp_path)
    assert session_members(info.pgid) == []
    assert [path for path in (*info.shared_memory, info.temporary) if Path(path).exists()] == []
    assert not (tmp_path / "engine.json").exists()


def test_a_process_that_outlives_its_server_does_not_listen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        info = replace(info_of(1, 1, tmp_path), port=listening.getsockname()[1])
        assert server.listens(info)
    assert not server.listens(info) and server.listens(replace(info, state="starting"))


@pytest.mark.engine
def test_an_engine_that_no_longer_listens_is_replaced(place: Place, tmp_path: Path) -> None:
    """As after SIGINT, while its process is still there."""
    first = server.start(place.policy, tmp_path, device="cpu", extra=["--max-total-tokens", "2048"])
    try:
        write_info(tmp_path, replace(first, port=server._free_port()))
        second = server.start(place.policy, tmp_path, device="cpu", extra=["--max-total-tokens", "2048"])
        assert second.pid != first.pid and session_members(first.pgid) == [] and Engine(second).is_ready()
    finally:
        server.stop(tmp_path)


@pytest.mark.engine
def test_stop_ends_every_process(place: Place, tmp_path: Path) -> None:
    server.start(place.policy, tmp_path, device="cpu", extra=["--max-total-tokens", "2048"])
    info = server.connect(tmp_path)
    assert len(session_members(info.pgid)) > 1
    assert server.stop(tmp_path)
    assert session_members(info.pgid) == []
    assert [path for path in (*info.shared_memory, info.temporary) if Path(path).exists()] == []
    assert server.status(tmp_path) is None and not server.stop(tmp_path)


@pytest.mark.engine
def test_a_failed_start_shows_the_end_of_the_log(place: Place, tmp_path: Path) -> None:
    with pytest.raises(ArlError, match="(?s)ended while starting.*--no-such-flag"):
        server.start(place.policy, tmp_path, device="cpu", extra=["--no-such-flag"])
    assert server.status(tmp_path) is None and not (tmp_path / "engine.json").exists()


def test_a_server_without_a_starter_leaves(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "arl.engine.serve", "--model-path", "none"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert done.returncode == 1 and b"starter is gone" in done.stderr


def test_the_commands_speak_of_the_engine(place: Place, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from arl.cli.engine import app

    runner, where = CliRunner(), ["--engine", str(tmp_path)]
    none = runner.invoke(app, ["status", *where])
    assert none.exit_code == 1 and "arl engine start" in none.stderr and none.stdout == ""
    stopped = runner.invoke(app, ["stop", *where])
    assert stopped.exit_code == 0 and "none runs" in stopped.stderr


@pytest.mark.engine
def test_status_is_json_without_the_key(running: Running, engine: Engine, place: Place) -> None:
    from typer.testing import CliRunner

    from arl.cli.engine import app

    shown = CliRunner().invoke(app, ["status", "--json", "--engine", str(place.state)])
    assert json.loads(shown.stdout)["version"] == engine.version()
    assert running.started[0].api_key not in shown.stdout


def test_no_engine_is_a_clear_error(tmp_path: Path) -> None:
    assert server.status(tmp_path) is None
    with pytest.raises(ArlError, match="arl engine start"):
        server.connect(tmp_path)
    assert not server.stop(tmp_path)


def test_a_reused_process_number_is_not_the_engine(tmp_path: Path) -> None:
    started = start_time(os.getpid())
    assert started is not None
    write_info(tmp_path, info_of(os.getpid(), started - 1, tmp_path))
    assert server.status(tmp_path) is None
    assert not server.stop(tmp_path)  # and this test is still running
    assert not (tmp_path / "engine.json").exists()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen]:
    """A process of this user's that is no engine."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_forged_engine_file_removes_nothing_and_ends_nobody(tmp_path: Path, stranger: subprocess.Popen) -> None:
    thesis, key, state = tmp_path / "arl-thesis", tmp_path / "id_rsa", tmp_path / "state"
    thesis.mkdir()
    state.mkdir()
    (thesis / "chapter").touch()
    key.touch()
    for pid, started in ((stranger.pid, start_time(stranger.pid) or 0), (stranger.pid, 1), (999_999, 1)):
        forged = replace(info_of(pid, started, tmp_path), temporary=str(thesis), shared_memory=(str(key),))
        write_info(state, forged)
        assert server.status(state) is None and not server.stop(state)
        assert not (state / "engine.json").exists()
    assert stranger.poll() is None and (thesis / "chapter").exists() and key.exists()


def test_an_engine_file_with_other_values_is_refused(tmp_path: Path) -> None:
    for change in ({"port": "80@elsewhere"}, {"api_key": 3}, {"pgid": 1}, {"shared_memory": (1,)}):
        write_info(tmp_path, replace(info_of(999_999, 1, tmp_path), **change))
        with pytest.raises(ArlError, match="not an engine's state"):
            server.stop(tmp_path)


def test_the_state_of_someone_else_is_refused(tmp_path: Path) -> None:
    write_info(tmp_path, info_of(999_999, 1, tmp_path))
    tmp_path.chmod(0o777)
    for use in (server.status, server.stop, server.connect):
        with pytest.raises(ArlError, match="others can write to it"):
            use(tmp_path)
    assert (tmp_path / "engine.json").exists()


def test_what_an_engine_left_is_removed_from_its_own_folder_only(tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    state.mkdir()
    temporary = make_temporary(state)
    write_info(state, replace(info_of(999_999, 1, tmp_path), temporary=str(temporary)))
    shutil.copytree(state, copy)
    assert not server.stop(copy) and temporary.exists()
    state.rename(tmp_path / "moved")
    assert not server.stop(tmp_path / "moved") and not temporary.exists()


def test_a_temporary_folder_leaves_room_for_the_address_of_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    temporary = make_temporary(tmp_path)
    assert len(str(temporary)) < 64
    remove_left(tmp_path, temporary, [])
    assert not temporary.exists()


def test_a_policy_the_engine_cannot_serve_is_refused_before_anything_starts(tmp_path: Path) -> None:
    policy = make_tiny_policy(tmp_path / "policy")
    config = policy / "llm" / "config.json"
    config.write_text(config.read_text().replace("Qwen2ForCausalLM", "RwkvForCausalLM"))
    (policy / MARKER).write_text(json.dumps({**json.loads((policy / MARKER).read_text()), "digests": {}}))  # written so
    with pytest.raises(ArlError, match="RwkvForCausalLM"):
        server.start(policy, tmp_path / "state", device="cpu")
    with pytest.raises(ArlError, match="no such policy"):
        server.start(tmp_path / "none", tmp_path / "state", device="cpu")
    with pytest.raises(ArlError, match="--device gpu"):
        server.start(make_tiny_policy(tmp_path / "good"), tmp_path / "state", device="gpu")
    assert server.status(tmp_path / "state") is None
