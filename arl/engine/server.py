"""Start, stop and find the engine: one detached SGLang server per state folder, on loopback with a random key.

The server is its own session, so a crash in it cannot signal us and nothing of it survives `stop`.
engine.json is written before the server may begin, so a killed starter leaves no engine that cannot be
found. Left out: flags (flags.py), requests (client.py). Light: SGLang is imported by the server only.

    info = start("policy/"); engine = Engine(connect()); ...; stop()
"""

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from arl.engine.client import Engine
from arl.engine.flags import model_dtype, resolve_device, server_environment, server_flags
from arl.engine.processes import end_session, is_orphaned, load_files, start_time
from arl.engine.state import EngineInfo, forget, last_info, read_info, state_folder, write_info
from arl.engine.weights import MODEL_FILE, check_same, signature
from arl.errors import ArlError
from arl.policy import Policy
from arl.runtime.lease import device_lease

LOG_LINES = 20
LINE_LENGTH = 400  # SGLang prints its four hundred arguments in one line


def start(
    policy_dir: str | Path,
    state_dir: str | Path | None = None,
    *,
    device: str = "auto",
    port: int | None = None,
    max_total_tokens: int | None = None,
    mem_fraction: float | None = None,
    extra: Sequence[str] = (),
    timeout_s: float = 300,
    progress: Callable[[str], None] | None = None,
) -> EngineInfo:
    """Start the engine on a policy and wait until it answers; returns at once if it already runs.

    A running engine of the same shapes is given this policy's weights. `extra` are SGLang's own flags.
    ArlError: a bad policy, another model is being served, or the server did not come up (with its log's end).
    """
    policy = Policy.open(policy_dir)
    folder = state_folder(state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    tell = progress or (lambda text: None)
    with _lock(folder, tell):
        info = read_info(folder)
        chosen = info.device if info else resolve_device(device)
        with device_lease("engine", chosen):
            if info is None:
                clean_up(folder)
                info = _spawn(policy, folder, chosen, port, max_total_tokens, mem_fraction, extra)
            if info.state != "ready":  # ours, or that of a starter that was killed
                info = _wait_ready(folder, info, time.monotonic() + timeout_s, tell)
            return _serve_policy(folder, info, policy)


def stop(state_dir: str | Path | None = None, grace_s: float = 2.0) -> bool:
    """End the engine with all its processes and remove its traces; False when none was running."""
    folder = state_folder(state_dir)
    info = last_info(folder)
    if info is None:
        return False
    running = start_time(info.pid) == info.started
    if running:
        end_session(info.pgid, grace_s)
        _remove(folder, info)
    else:
        clean_up(folder)
    return running


def status(state_dir: str | Path | None = None) -> EngineInfo | None:
    """The engine of this state folder, or None. `state` is "starting" until it answers."""
    return read_info(state_folder(state_dir))


def connect(state_dir: str | Path | None = None) -> EngineInfo:
    """The running engine, for `Engine(connect())`. ArlError when none runs or it is not ready yet."""
    folder = state_folder(state_dir)
    info = read_info(folder)
    if info is None:
        raise ArlError(f"{folder}: no engine runs here; start one: arl engine start --policy POLICY")
    if info.state != "ready":
        raise ArlError(f"{folder}: the engine is still starting (log: {info.log}); wait for: arl engine start")
    return info


def clean_up(folder: Path) -> None:
    """Remove what an engine that died left: engine.json, its temporary folder, its shared-memory files."""
    info = last_info(folder)
    if info is None:
        return
    if is_orphaned(info.pgid):
        end_session(info.pgid, grace_s=0)
    _remove(folder, info)


def _spawn(
    policy: Policy,
    folder: Path,
    device: str,
    port: int | None,
    max_total_tokens: int | None,
    mem_fraction: float | None,
    extra: Sequence[str],
) -> EngineInfo:
    """Start the process and write down where it is; it waits for its key until that is done."""
    served = signature(policy.llm_dir)
    dtype = model_dtype(policy)
    port = port or _free_port()
    command = [sys.executable, "-P", "-m", "arl.engine.serve"]
    command += [*server_flags(policy, device, port, max_total_tokens, mem_fraction), *extra]
    (folder / MODEL_FILE).write_text(json.dumps(served))
    temporary = Path(tempfile.mkdtemp(prefix="arl-"))  # short: Unix sockets go here, 107 bytes at most
    api_key = secrets.token_urlsafe(24)
    with open(folder / "engine.log", "wb", opener=_private) as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=server_environment(device, temporary),
            start_new_session=True,
        )
    info = EngineInfo(
        state="starting",
        pid=process.pid,
        pgid=process.pid,
        started=start_time(process.pid) or 0,
        port=port,
        api_key=api_key,
        policy=str(policy.path.absolute()),
        version=policy.version,
        log=str(folder / "engine.log"),
        device=device,
        dtype=dtype,
        audio_token_id=policy.audio_token_id,
        eos_token_id=policy.eos_token_id,
        temporary=str(temporary),
    )
    write_info(folder, info)
    assert process.stdin is not None
    try:
        process.stdin.write(f"{api_key}\n".encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died at once; _wait_ready reports why
    return info


def _wait_ready(folder: Path, info: EngineInfo, deadline: float, tell: Callable[[str], None]) -> EngineInfo:
    engine = Engine(info)
    began = time.monotonic()
    try:
        while not engine.is_ready():
            if start_time(info.pid) != info.started:
                raise ArlError(f"the engine ended while starting; the end of {info.log}:\n{_log_end(info)}")
            if time.monotonic() > deadline:
                raise ArlError(f"the engine did not answer in time; the end of {info.log}:\n{_log_end(info)}")
            tell(f"engine: starting on {info.device}, {time.monotonic() - began:.0f} s")
            time.sleep(0.2)
    except BaseException:  # also Ctrl-C: who gives up the start does not want the engine
        stop(folder, grace_s=1.0)
        raise
    info = replace(info, state="ready", shared_memory=tuple(load_files(info.pgid)))
    write_info(folder, info)
    return info


def _serve_policy(folder: Path, info: EngineInfo, policy: Policy) -> EngineInfo:
    """A running engine may serve another version: bring it to this one, if it is the same model."""
    if info.audio_token_id != policy.audio_token_id or info.eos_token_id != policy.eos_token_id:
        raise ArlError(f"{policy.path}: the engine serves {info.policy} with other token ids; run: arl engine stop")
    check_same(json.loads((folder / MODEL_FILE).read_text()), policy.llm_dir)
    engine = Engine(info)
    engine.wake(policy.llm_dir, policy.version)
    if engine.version() != policy.version:
        engine.update_weights(policy.llm_dir, policy.version)
    return read_info(folder) or info


def _remove(folder: Path, info: EngineInfo) -> None:
    for path in info.shared_memory:
        Path(path).unlink(missing_ok=True)
    shutil.rmtree(info.temporary, ignore_errors=True)
    forget(folder, info.pid)


@contextmanager
def _lock(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """One starter at a time; the kernel drops the lock when its holder dies."""
    with open(folder / "lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("engine: another process is starting it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _log_end(info: EngineInfo) -> str:
    lines = Path(info.log).read_text(errors="replace").replace(info.api_key, "...").splitlines()
    return "\n".join(f"  {line[:LINE_LENGTH]}" for line in lines[-LOG_LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
