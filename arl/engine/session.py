"""The resident engine as a stage uses it: find or start it, wake it, give it weights, prove them, put it to sleep."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from arl.engine import server
from arl.engine.client import Engine
from arl.engine.connection import EngineGone
from arl.engine.served_model import ServedModel
from arl.engine.state import EngineInfo, known_engines
from arl.errors import ArlError
from arl.policy import Policy
from arl.runtime.console import note
from arl.runtime.daemon import Daemon
from arl.runtime.lease import device_lease
from arl.runtime.stages import BY_NAME

TOLERANCE = {"float32": 1e-3}  # mean |Δ log-prob| on the probe; half-precision engines differ by rounding
# Of half precision: a right engine of 28 layers is 5e-2 away by rounding, one with a wrong tensor by whole nats.
HALF_TOLERANCE = 0.2
FREE_S = 60.0  # until a released GPU must be free
SETTLED_MB = 256  # a change of free memory that is not noise
LOOK_S = 0.1  # between two looks


def serving_engine(policy: Policy, engine: Path) -> Engine:
    """The engine, started for `policy` if none runs. ArlError if it serves another version: sync first."""
    running = server.status(engine)
    if running is None:
        note(f"no engine in {engine}: starting one for {policy.path} (`arl engine stop` ends it)")
    if running is None or running.state != "ready" or not server.listens(running):
        server.start(policy.path, engine)
    client = Engine(server.connect(engine))
    if client.version() != policy.version:
        raise ArlError(
            f"the engine in {engine} serves policy {client.version()}, not {policy.version} of {policy.path}; "
            f"run: arl sync --policy {policy.path} --engine {engine}"
        )
    return client


@contextmanager
def awake(client: Engine, policy: Policy, stage: str) -> Iterator[None]:
    """Holds the devices for the engine, which has its memory back with the policy's weights if it was asleep."""
    with device_lease(stage, client.served.device, count=client.served.devices):
        client.wake(ServedModel.of(policy))
        yield


def describe(engine: Path) -> dict[str, Any] | None:
    """What engine.json says without the key, the version as the engine says it; None where no engine runs."""
    info = server.status(engine)
    if info is None:
        return None
    shown = info.public()
    if info.state == "ready" and not info.node_rank:
        try:
            shown["version"] = Engine(info, timeout_s=10).version()
        except EngineGone:
            shown["state"] = "not answering"
    return shown


def engine_with(policy: Policy, engine: Path) -> Engine:
    """The engine after it has taken the policy's weights; started with them where none runs."""
    if server.status(engine) is None:
        note(f"sync: no engine in {engine}: starting one (`arl engine stop` ends it)")
    server.start(policy.path, engine)  # waits for one that is starting; gives a running one these weights
    return Engine(server.connect(engine))


def probe_of(policy: Policy) -> dict[str, list]:
    """{"tokens", "logprobs"}, as whoever wrote the policy computed them. ArlError where it has none."""
    probe: dict[str, list] | None = policy.fields.get("probe")
    if not probe:
        raise ArlError(f"{policy.path}: arl.json has no probe; write the policy with `arl init` or `arl update`")
    return probe


def prove(client: Engine, policy: Policy, tolerance: float) -> dict[str, Any]:
    """{"probe_mean", "probe_max"}: |Δ log-prob| on the probe, of the worst replica. ArlError when the version or the
    numbers of one differ, with its name."""
    probe = probe_of(policy)
    versions = client.versions()
    for replica, served in enumerate(versions):
        if served != policy.version:
            raise ArlError(f"{named(client, replica)} says it serves {served}, not {policy.version}: sync again, or "
                           "restart the engine")  # fmt: skip

    async def score() -> list[list[float]]:
        ids, rest = probe["tokens"][:1], probe["tokens"][1:]
        async with client:
            return await asyncio.gather(*(client.score(ids, [], rest, replica) for replica in range(len(versions))))

    allowed = tolerance or TOLERANCE.get(client.served.dtype, HALF_TOLERANCE)
    means, worst = [], 0.0
    for replica, log_probs in enumerate(asyncio.run(score())):
        differences = [abs(a - b) for a, b in zip(log_probs, probe["logprobs"], strict=True)]
        means.append(sum(differences) / len(differences))
        worst = max(worst, *differences)
        if not means[-1] <= allowed:
            raise ArlError(
                f"{named(client, replica)}'s log-probs on the probe differ from those of {policy.path} by "
                f"{means[-1]:.2e} on average (allowed {allowed:.0e}): it does not compute this policy; "
                "`arl engine stop`, then sync again"
            )
    return {"probe_mean": max(means), "probe_max": worst}


def named(client: Engine, replica: int) -> str:
    """The engine, or which of its replicas."""
    return "the engine" if client.served.dp == 1 else f"replica {replica} of the engine"


def hold_device(stage: str, device: str) -> AbstractContextManager[float]:
    """The device lease for a command; on a GPU an engine that does not work for it releases its memory first.

    stage: a name of `arl.runtime.stages`. device: "cpu", "cuda" or "cuda:N". Yields the seconds that it was waited for.
    """
    return device_lease(stage, device, None if BY_NAME[stage].uses_engine else put_to_sleep)


def put_to_sleep(device: str) -> None:
    """Has the engines that this run has started on the device, if awake, release weights, cache and graphs there; waits
    until they are free. An engine on other devices goes on."""
    for folder in known_engines():
        info = server.status(folder)
        if info is not None and info.state == "ready" and info.uses(device):
            # not the starter's lock: a starter has it and waits for the device
            with Daemon(folder, "release", "the engine").lock():
                _release(server.status(folder) or info, device)


def _release(info: EngineInfo, device: str) -> None:
    """The ranks of an update come here one after another: the first finds it awake, for the others it is on its way. Of
    an engine on several nodes a stage on node 0 releases all."""
    deadline, before = time.monotonic() + FREE_S, _free_mb(device)
    if info.awake and not info.node_rank:
        Engine(info).release()
        while _free_mb(device) <= before + SETTLED_MB:  # the call returns before the driver has unmapped everything
            if time.monotonic() > deadline:
                raise ArlError(f"the engine (pid {info.pid}) has not freed the memory of {device} after {FREE_S:.0f} "
                               "s; arl engine stop, then run the command again")  # fmt: skip
            time.sleep(LOOK_S)
    free = before
    while (now := _free_mb(device)) > free + SETTLED_MB and time.monotonic() < deadline:
        free = now
        time.sleep(LOOK_S)


def _free_mb(device: str) -> float:
    import torch

    return torch.cuda.mem_get_info(torch.device(device))[0] / 1e6
