"""`arl sync`: a policy's weights into the resident engine, stamped and proved.

    arl sync --policy runs/demo/step-000003/policy

The policy must be whole (its weights hash to its version). After the load the engine must say that it serves
that version, and must give the policy's probe tokens the log-probabilities that the policy's own process
stored; otherwise the command fails. Where no engine runs, one is started with the policy.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options
from arl.errors import UsageError


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
    from arl.engine.sync_stage import sync_policy

    if policy is None:
        raise UsageError("arl sync needs --policy (or ARL_POLICY)")
    result = sync_policy(policy, engine, out, tolerance)
    if as_json:
        print(json.dumps(result))
