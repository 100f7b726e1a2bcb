"""`arl sync`: a policy's weights into the resident engine, stamped and proved.

    arl sync --policy runs/demo/step-000003/policy

The policy must be whole (its weights hash to its version). After the load the engine must say that it serves
that version, and must give the policy's probe tokens the log-probabilities that the policy's own process
stored; otherwise the command fails. Where no engine runs, one is started with the policy.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl import options

if TYPE_CHECKING:
    from arl.engine.client import Engine
    from arl.policy import Policy

TOLERANCE = {"float32": 1e-3}  # mean |Δ log-prob| on the probe; half-precision engines differ by rounding
HALF_TOLERANCE = 5e-2


def sync(
    policy: options.PolicyDir = None,
    engine: options.EngineDir = options.DEFAULT_ENGINE,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for a stage.jsonl record.")] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Mean |Δ log-prob| allowed; 0: by dtype.")] = 0.0,
    as_json: options.Json = False,
) -> None:
    """Load a policy's weights into the engine, and prove it.

    Example: arl sync --policy runs/demo/step-000003/policy
    """
    from arl.console import note
    from arl.errors import UsageError
    from arl.policy import Policy
    from arl.rollout import awake
    from arl.stage import Phases, peak_memory_mb

    if policy is None:
        raise UsageError("arl sync needs --policy (or ARL_POLICY)")
    phases = Phases()
    with phases.phase("wake"):
        opened = Policy.open(policy)
        opened.verify()
    with phases.phase("run"):
        client = engine_with(opened, engine)
        with awake(client, opened, "sync"):
            probe = prove(client, opened, tolerance)
    result = {"version": opened.version, **probe}
    if out is not None:
        line = {
            "stage": "sync", "shard": "policy", "policy": opened.version, "samples": 1, **probe,
            "seconds": phases.rounded(), "peak_memory_mb": round(peak_memory_mb(), 1),
        }  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        (out / "stage.jsonl").write_text(json.dumps(line, sort_keys=True) + "\n")
    if as_json:
        print(json.dumps(result))
    note(f"sync: {engine} serves {opened.version} (probe |Δ log-prob| mean {probe['probe_mean']:.1e})")


def engine_with(policy: "Policy", engine: Path) -> "Engine":
    """The engine after it has taken the policy's weights; started with them where none runs."""
    from arl.console import note
    from arl.engine import server
    from arl.engine.client import Engine

    if server.status(engine) is None:
        note(f"sync: no engine in {engine}: starting one (`arl engine stop` ends it)")
    server.start(policy.path, engine)  # waits for one that is starting; gives a running one these weights
    return Engine(server.connect(engine))


def prove(client: "Engine", policy: "Policy", tolerance: float) -> dict[str, Any]:
    """{"probe_mean", "probe_max"}: |Δ log-prob| on the probe. ArlError when the version or the numbers differ."""
    import asyncio

    from arl.errors import ArlError

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
