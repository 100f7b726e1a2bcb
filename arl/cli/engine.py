"""`arl engine start|stop|status`: the resident SGLang server that `rollout`, `eval` and `sync` use.

Left out: what the server does (arl/engine/). Light to import.

    arl engine start --policy policy/
"""

import json as json_module
import time
from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options
from arl.runtime.console import note

app = typer.Typer(no_args_is_help=True, help="Start, stop and look at the resident engine.")


@app.command()
def start(
    policy: Annotated[Path, typer.Option("--policy", envvar="ARL_POLICY", help="Policy folder to serve.")],
    engine: options.EngineDir = options.DEFAULT_ENGINE,
    device: Annotated[str, typer.Option("--device", envvar="ARL_DEVICE", help="auto, cpu or cuda.")] = "auto",
    port: Annotated[int | None, typer.Option("--port", help="Loopback port. Default: a free one.")] = None,
    max_total_tokens: Annotated[
        int | None, typer.Option("--max-total-tokens", min=1, help="Key/value cache, in tokens.")
    ] = None,
    mem_fraction: Annotated[
        float | None, typer.Option("--mem-fraction", min=0.0, max=1.0, help="GPU memory for weights and cache.")
    ] = None,
    lora_rank: Annotated[
        int,
        typer.Option("--lora-rank", min=0, help="Keep adapters up to this rank apart from the weights; 0: merge them."),
    ] = 0,
    tp: Annotated[int, typer.Option("--tp", min=1, help="GPUs that share one copy of the weights.")] = 1,
    dp: Annotated[int, typer.Option("--dp", min=1, help="Replicas, each on --tp GPUs; a group stays on one.")] = 1,
    nnodes: Annotated[int, typer.Option("--nnodes", min=1, help="Nodes that share one copy; start it on each.")] = 1,
    node_rank: Annotated[int, typer.Option("--node-rank", min=0, help="Which of them this is.")] = 0,
    dist_init_addr: Annotated[
        str | None, typer.Option("--dist-init-addr", metavar="HOST:PORT", help="Where they meet, on node 0.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds until a start counts as failed.")] = 300,
    extra: Annotated[list[str] | None, typer.Argument(help="SGLang's own flags, after --.", show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """Start the engine and wait until it answers. A running one of the same model is given this policy.

    Example: arl engine start --policy policy/
    """
    from arl.engine import server
    from arl.engine.flags import Replicas

    began = time.monotonic()
    info = server.start(
        policy,
        engine,
        device=device,
        port=port,
        max_total_tokens=max_total_tokens,
        mem_fraction=mem_fraction,
        lora_rank=lora_rank,
        replicas=Replicas(tp, dp, nnodes, node_rank, dist_init_addr),
        extra=extra or (),
        timeout_s=timeout,
    )
    if json:
        print(json_module.dumps(info.public()))
    note(f"engine: serving {info.version} on {info.device} after {time.monotonic() - began:.1f} s (pid {info.pid})")


@app.command()
def stop(engine: options.EngineDir = options.DEFAULT_ENGINE) -> None:
    """Stop the engine and every process it started. Nothing to stop is not a failure.

    Example: arl engine stop
    """
    from arl.engine import server

    note("engine: stopped" if server.stop(engine) else f"engine: none runs in {engine}")


@app.command()
def status(engine: options.EngineDir = options.DEFAULT_ENGINE, json: options.Json = False) -> None:
    """Show where the engine is and which policy it serves. Exit code 1 when none runs.

    Example: arl engine status --json
    """
    from arl.engine.session import describe

    shown = describe(engine)
    if shown is None:
        note(f"engine: none runs in {engine}; start one: arl engine start --policy POLICY")
        raise typer.Exit(1)
    if json:
        print(json_module.dumps(shown))
        return
    for name, value in shown.items():
        print(f"{name:<16}{value}")
