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
from arl.errors import ArlError
from arl.policy import Policy
from arl.runtime.console import note
from arl.runtime.lease import device_lease
from arl.runtime.stages import BY_NAME

TOLERANCE = {"float32": 1e-3}  # mean |Δ log-prob| on the probe; half-precision engines differ by rounding
HALF_TOLERANCE = 5e-2
FREE_S = 60.0  # until a released GPU must be free
SETTLED_MB = 256  # a change of free memory that is not noise


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
    """Holds the device for the engine, which has its memory back with the policy's weights if it was asleep."""
    with device_lease(stage, client.served.device):
        client.wake(ServedModel.of(policy))
        yield


def describe(engine: Path) -> dict[str, Any] | None:
    """What engine.json says without the key, the version as the engine says it; None where no engine runs."""
    info = server.status(engine)
    if info is None:
        return None
    shown = info.public()
    if info.state == "ready":
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


def prove(client: Engine, policy: Policy, tolerance: float) -> dict[str, Any]:
    """{"probe_mean", "probe_max"}: |Δ log-prob| on the probe. ArlError when the version or the numbers differ."""
    served = client.version()
    if served != policy.version:
        raise ArlError(f"the engine says it serves {served}, not {policy.version}: sync again, or restart the engine")
    probe = policy.fields.get("probe")
    if not probe:
        raise ArlError(f"{policy.path}: arl.json has no probe; write the policy with `arl init` or `arl update`")

    async def score() -> list[float]:
        async with client:
            return await client.score(probe["tokens"][:1], [], probe["tokens"][1:])

    engine_log_probs = asyncio.run(score())
    differences = [abs(a - b) for a, b in zip(engine_log_probs, probe["logprobs"], strict=True)]
    mean = sum(differences) / len(differences)
    allowed = tolerance or TOLERANCE.get(client.served.dtype, HALF_TOLERANCE)
    if not mean <= allowed:
        raise ArlError(
            f"the engine's log-probs on the probe differ from those of {policy.path} by {mean:.2e} on average "
            f"(allowed {allowed:.0e}): the engine does not compute this policy; `arl engine stop`, then sync again"
        )
    return {"probe_mean": mean, "probe_max": max(differences)}


def hold_device(stage: str, device: str) -> AbstractContextManager[float]:
    """The device lease for a command; on a GPU an engine that does not work for it releases its memory first.

    stage: a name of `arl.runtime.stages`. device: "cpu", "cuda" or "cuda:N". Yields the seconds that it was waited for.
    """
    return device_lease(stage, device, None if BY_NAME[stage].uses_engine else put_to_sleep)


def put_to_sleep(device: str) -> None:
    """Has the engine of this run, if one is awake, release weights, cache and graphs; waits until they are free."""
    info = server.status()
    if info is None or info.state != "ready" or info.device == "cpu" or not info.awake:
        return
    before = _free_mb(device)
    Engine(info).release()
    deadline = time.monotonic() + FREE_S
    free = _free_mb(device)
    while free <= before + SETTLED_MB:  # the call returns before the driver has unmapped everything
        if time.monotonic() > deadline:
            raise ArlError(f"the engine (pid {info.pid}) has not freed the memory of {device} after {FREE_S:.0f} s; "
                           "arl engine stop, then run the command again")  # fmt: skip
        time.sleep(0.05)
        free = _free_mb(device)
    while (now := _free_mb(device)) > free + SETTLED_MB and time.monotonic() < deadline:
        free = now
        time.sleep(0.05)


def _free_mb(device: str) -> float:
    import torch

    return torch.cuda.mem_get_info(torch.device(device))[0] / 1e6
