"""The sync stage: a policy's weights into the resident engine, stamped and proved, with its `stage.jsonl` line.

sync_policy(Path("runs/demo/step-000003/policy"), Path(".arl/engine"))["probe_mean"]
"""

from pathlib import Path
from typing import Any

from arl.engine.session import awake, engine_with, probe_of, prove
from arl.policy import Policy
from arl.runtime.console import note
from arl.runtime.stage import Phases, peak_memory_mb
from arl.shards.durable import refuse_inputs
from arl.shards.record import StageRecord, append_record


def sync_policy(policy: Path, engine: Path, out: Path | None = None, tolerance: float = 0.0) -> dict[str, Any]:
    """{"version", "probe_mean", "probe_max"}, once the engine serves the policy. out: folder for the record.

    ArlError: the policy's weights are not those of its version, or it has no probe, before any engine starts; or as
    `engine_with` and `prove`.
    """
    phases = Phases()
    with phases.phase("wake"):
        opened = Policy.open(policy)
        if out is not None:
            refuse_inputs(out, [policy])
        opened.verify()
        probe_of(opened)
    with phases.phase("run"):
        client = engine_with(opened, engine)
        with awake(client, opened, "sync"):
            probe = prove(client, opened, tolerance)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        record = StageRecord("sync", "policy", 1, phases.rounded(), peak_memory_mb(), opened.version, figures=probe)
        append_record(out, record)
    note(f"sync: {engine} serves {opened.version} (probe |Δ log-prob| mean {probe['probe_mean']:.1e})")
    return {"version": opened.version, **probe}
