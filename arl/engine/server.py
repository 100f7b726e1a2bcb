"""Start, stop and find the engine: one detached SGLang server per state folder, on loopback with a random key.

The server is its own session, so a crash in it cannot signal us and nothing of it survives `stop`.
engine.json is written before the server may begin, so a killed starter leaves no engine that cannot be
found. Left out: flags (flags.py), requests (client.py). Light: SGLang is imported by the server only.

    info = start("policy/"); engine = Engine(connect()); ...; stop()
"""

import json
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from arl.engine.client import Engine
from arl.engine.connection import Patience
from arl.engine.flags import ALONE, Replicas, engine_device, server_environment, server_flags
from arl.engine.processes import (
    SchedulerWatch,
    check_shared_memory,
    end_session,
    is_orphaned,
    load_files,
    make_temporary,
    remove_left,
)
from arl.engine.served_model import STRUCTURE_FILE, ServedModel
from arl.engine.state import EngineInfo, engine_process, last_info, read_info, remember, state_folder, write_info
from arl.errors import ArlError
from arl.policy import Policy
from arl.runtime.console import note, status_line
from arl.runtime.lease import device_lease
from arl.runtime.process import start_time

SAY_S = 60.0  # until a start says that it still waits; doubled each time


def start(
    policy_dir: str | Path,
    state_dir: str | Path | None = None,
    *,
    device: str = "auto",
    port: int | None = None,
    max_total_tokens: int | None = None,
    mem_fraction: float | None = None,
    lora_rank: int = 0,
    replicas: Replicas = ALONE,
    extra: Sequence[str] = (),
    timeout_s: float = 300,
) -> EngineInfo:
    """Start the engine on a policy and wait until it answers; returns at once if it already runs.

    A running engine of the same shapes is given this policy's weights. `lora_rank`: the largest rank of adapters that
    it keeps apart from the weights; 0: it merges them. `extra` are SGLang's own flags. UsageError for `replicas` that
    cannot be. ArlError: a bad policy, another model is being served, or the server did not come up (with its log's
    end).
    """
    policy = Policy.open(policy_dir)
    folder = state_folder(state_dir)
    model = ServedModel.of(policy)
    engine = engine_process(folder)
    engine.make_folder()
    waiting = "engine: waiting for another process that starts it"
    with status_line("engine: starting") as tell, engine.lock(lambda: note(waiting)):
        info = read_info(folder)
        chosen = info.device if info else engine_device(device)
        with device_lease("engine", chosen, count=info.devices if info else replicas.here):
            if info is not None and not listens(info):
                note(f"engine: the process {info.pid} no longer listens: ending it and starting another")
                stop(folder)
                info = None
            if info is not None and info.lora_rank < lora_rank:
                rank = info.lora_rank
                raise ArlError(f"{folder}: the engine that runs keeps adapters of up to rank {rank} apart, not "
                               f"{lora_rank}: arl engine stop, then start")  # fmt: skip
            if info is None:
                clean_up(folder)
                check_shared_memory()
                port = port or _free_port()
                replicas.check(model, chosen, lora_rank)
                flags = server_flags(
                    model, policy.audio_token_id, chosen, port, max_total_tokens, mem_fraction, lora_rank, replicas
                )
                if chosen != "cpu":
                    remember(folder)
                info = _spawn(policy, model, folder, chosen, port, [*flags, *extra], lora_rank, replicas)
            if info.state != "ready":  # ours, or that of a starter that was killed
                info = _wait_ready(folder, info, timeout_s, tell)
            return _serve(folder, info, policy, model)


def stop(state_dir: str | Path | None = None, grace_s: float = 2.0) -> bool:
    """End the engine with all its processes and remove its traces; False when none was running."""
    folder = state_folder(state_dir)
    info = last_info(folder)
    if info is None:
        return False
    running = engine_process(folder).runs(asdict(info))
    if running:
        end_session(info.pid, grace_s)
        _remove(folder, info)
    else:
        clean_up(folder)
    return running


def status(state_dir: str | Path | None = None) -> EngineInfo | None:
    """The engine of this state folder, or None. `state` is "starting" until it answers."""
    return read_info(state_folder(state_dir))


def connect(state_dir: str | Path | None = None) -> EngineInfo:
    """The running engine, for `Engine(connect())`. ArlError when none runs, it is not ready yet, or answers on another
    node."""
    folder = state_folder(state_dir)
    info = read_info(folder)
    if info is None:
        raise ArlError(f"{folder}: no engine runs here; start one: arl engine start --policy POLICY")
    if info.state != "ready":
        raise ArlError(f"{folder}: the engine is still starting (log: {info.log}); wait for: arl engine start")
    if info.node_rank:
        raise ArlError(f"{folder}: node {info.node_rank} of the {info.nnodes} of an engine, which answers on node 0: "
                       "run the command there")  # fmt: skip
    return info


def listens(info: EngineInfo) -> bool:
    """Whether a ready engine still takes connections: after a signal its process can outlive its server."""
    if info.state != "ready":
        return True
    try:
        socket.create_connection(("127.0.0.1", info.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    except OSError:  # busy: the requests themselves will say more
        return True
    return True


def clean_up(folder: Path) -> None:
    """Remove what an engine that died left: engine.json, its temporary folder, its shared-memory files."""
    info = last_info(folder)
    if info is None:
        return
    if is_orphaned(info.pid, engine_process(folder)):
        end_session(info.pid, grace_s=0)
    _remove(folder, info)


def _spawn(
    policy: Policy, model: ServedModel, folder: Path, device: str, port: int, flags: list[str], lora_rank: int,
    replicas: Replicas,
) -> EngineInfo:  # fmt: skip
    """Start the process and write down where it is; it waits for its key until that is done."""
    (folder / STRUCTURE_FILE).write_text(json.dumps(model.structure))
    temporary = make_temporary(folder)
    api_key = secrets.token_urlsafe(24)
    engine = engine_process(folder)
    environment = server_environment(model, device, temporary, lora_rank, replicas)
    process = engine.spawn("arl.engine.serve", flags, stdin=subprocess.PIPE, env=environment)
    info = EngineInfo(
        state="starting",
        pid=process.pid,
        pgid=process.pid,
        started=start_time(process.pid) or 0,
        port=port,
        api_key=api_key,
        policy=str(policy.path.absolute()),
        version=policy.version,
        log=str(engine.log_path),
        device=device,
        dtype=model.dtype,
        audio_token_id=policy.audio_token_id,
        eos_token_id=policy.end_ids,
        temporary=str(temporary),
        lora_rank=lora_rank,
        base=model.file_version,
        tp=replicas.tp,
        dp=replicas.dp,
        nnodes=replicas.nnodes,
        node_rank=replicas.node_rank,
    )
    write_info(folder, info)
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died at once; _wait_ready reports why
        process.stdin.write(f"{api_key}\n".encode())
        process.stdin.close()
    return info


def _wait_ready(folder: Path, info: EngineInfo, timeout_s: float, tell: Callable[[str], object]) -> EngineInfo:
    client, began = Engine(info), time.monotonic()

    patience, said = Patience(info), [SAY_S]

    def is_ready() -> bool:
        seconds = time.monotonic() - began
        tell(f"engine: starting on {info.device}, {seconds:.0f} s")
        if seconds > said[-1]:
            note(f"engine: has been starting for {seconds:.0f} s, {timeout_s:.0f} s at most (log: {info.log})")
            said.append(2 * said[-1])
        patience.look()
        return client.is_ready()

    engine, deadline, watch = engine_process(folder), began + timeout_s, SchedulerWatch(info.pgid)
    try:
        engine.wait_until(
            is_ready, info.pid, info.started, deadline, pause_s=0.2, secret=info.api_key, is_whole=watch.is_whole
        )
    except BaseException:  # also Ctrl-C: who gives up the start does not want the engine
        stop(folder, grace_s=1.0)
        raise
    info = replace(info, state="ready", shared_memory=tuple(load_files(info.pgid)))
    write_info(folder, info)
    return info


def _serve(folder: Path, info: EngineInfo, policy: Policy, model: ServedModel) -> EngineInfo:
    """A running engine may serve another version: bring it to this one, if it is the same model. Node 0 does."""
    if info.node_rank:
        return info
    if info.audio_token_id != policy.audio_token_id or info.end_ids != policy.end_ids:
        raise ArlError(f"{policy.path}: the engine serves {info.policy} with other token ids; run: arl engine stop")
    model.check_same(json.loads((folder / STRUCTURE_FILE).read_text()))
    client = Engine(info)
    client.wake(model)
    if client.version() != model.version:
        client.update_weights(model)
    return read_info(folder) or info


def _remove(folder: Path, info: EngineInfo) -> None:
    remove_left(folder, Path(info.temporary), info.shared_memory)
    engine_process(folder).forget(info.pid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
