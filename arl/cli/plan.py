"""`arl plan`: what a policy's run needs on given GPUs, and which flags make it fit.

    arl plan --policy policy --gpus 8 --gpu-memory 80 --batch 32 --group 12 --audio-s 10

By formula (arl/planning/), from config.json alone; what it does not know is listed. Left out: seconds.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options


def plan(
    policy: Annotated[Path, typer.Option("--policy", envvar="ARL_POLICY", help="Policy folder.")],
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="GPUs, over which an update is divided.")] = 1,
    gpu_memory: Annotated[float, typer.Option("--gpu-memory", min=0.1, help="Of one GPU, GB.")] = 80.0,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Utterances of a step.")] = 32,
    group: Annotated[int, typer.Option("--group", "-g", min=1, help="Hypotheses per utterance, G.")] = 12,
    audio_s: Annotated[float, typer.Option("--audio-s", min=0.0, help="Seconds of an utterance.")] = 10.0,
    response: Annotated[
        int, typer.Option("--response", min=0, help="Tokens of a hypothesis; 0: 3 a second of audio.")
    ] = 0,
    as_json: options.Json = False,
) -> None:
    """Say what memory each stage needs, what fits, and which flags to give. Nothing is computed.

    Example: arl plan --policy policy --gpus 8 --gpu-memory 80
    """
    from arl.planning.plan import Request, make_plan, page
    from arl.policy import Policy

    found = make_plan(Policy.open(policy), Request(gpus, gpu_memory, batch, group, audio_s, response))
    print(json.dumps(found) if as_json else page(found))
