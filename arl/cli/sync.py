"""`arl sync`: a policy's weights into the resident engine, stamped and proved.

    arl sync --policy runs/demo/step-000003/policy

The policy must be whole (its weights hash to its version). After the load the engine must say that it serves
that version, and must give the policy's probe tokens the log-probabilities that the policy's own process
stored; otherwise the command fails. Where no engine runs, one is started with the policy.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arl.cli import options
from arl.engine.session import engine_with, prove

if TYPE_CHECKING:
    pass


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
    from arl.engine.session import awake
    from arl.errors import UsageError
    from arl.policy import Policy
    from arl.runtime.console import note
    from arl.runtime.stage import Phases, peak_memory_mb

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
