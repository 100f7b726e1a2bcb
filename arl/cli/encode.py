"""`arl encode`: audio shards → embedding shards, once per dataset.

    arl encode --shards data/train --policy policy -o emb
    arl encode --shards texts/ --policy speaker -o emb            # a synthesis policy: texts → prompts, audio → codes

The policy's frontend (a frozen audio tower + projector) runs on length-bucketed batches; each utterance becomes
`.emb.safetensors` [T, H] and `.prompt.json` with one placeholder for the clip. `--features` stops before the projector
and writes `.feat.safetensors`, which supervised training of the projector reads. An utterance that cannot be read
(counted against --max-failed) becomes an empty prompt with its error, so that later columns keep the same rows.
Left out: training of any kind; the frontend does not change in reinforcement learning, so a dataset that
the same frontend has encoded is skipped, whatever the policy's version.
"""

from typing import Annotated

import typer

from arl.cli import options
from arl.errors import UsageError
from arl.runtime.fan_out import over_gpus


def encode(
    shards: options.Shards,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    features: Annotated[
        bool, typer.Option("--features", help="Write the tower's features, before the projector.")
    ] = False,
    voice: Annotated[
        str | None, typer.Option("--voice", help="Of synthesis: the voice of every text. Default: its speaker's.")
    ] = None,
    batch_s: Annotated[
        float | None,
        typer.Option("--batch-s", help="Audio seconds per batch, padding included. Default: 120; on a CPU 10."),
    ] = None,
    gpus: options.Gpus = 1,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
) -> None:
    """Compute audio embeddings, once per dataset.

    Example: arl encode --shards data/train --policy policy -o emb
    """
    from arl.models.encode_stage import encode as run

    if policy is None:
        raise UsageError("arl encode needs --policy (or ARL_POLICY)")
    if over_gpus(gpus, device):
        return
    run(
        shards, policy, out, features=features, voice=voice, batch_s=batch_s,
        device=device, threads=threads, force=force, max_failed=max_failed,
    )  # fmt: skip
