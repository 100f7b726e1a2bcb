"""`arl decode`: rollout shards of a synthesis policy → one waveform per hypothesis.

    arl decode --shards emb/ --shards rollout/ --policy policy -o wav

The policy's decoder (flow matching, then the vocoder) runs over batches of similar length, formed over the whole shard.
Each hypothesis becomes `.00.flac`, `.01.flac`, …, 16 kHz 16-bit mono; one without an acoustic token 40 ms of silence.
The noise is a prefix of one sequence per utterance, named by the seed and the key: all members of a group start from
the same, and a wave depends neither on its batch nor on the size of its group (up to rounding, one step of 16 bits).
Equal hypotheses of a group are computed once. A sample without hypotheses keeps its row: `.wav.json` says why.
Left out: streaming; the reward programs read the waves in place (arl/cli/reward.py).
"""

from typing import Annotated, Literal

import typer

from arl.cli import options
from arl.models import DecodeSettings
from arl.runtime.fan_out import over_gpus


def decode(
    shards: options.Shards,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    nfe: Annotated[int, typer.Option("--nfe", min=1, help="Steps of the flow's solver.")] = 10,
    cfg: Annotated[
        float, typer.Option("--cfg", min=0.0, help="Classifier-free guidance; 0 is off, half the work.")
    ] = 0.7,
    dtype: Annotated[Literal["float32", "bfloat16"], typer.Option("--dtype", help="Of matrix products.")] = "float32",
    batch_s: Annotated[float, typer.Option("--batch-s", help="Audio seconds per batch, padding included.")] = 60.0,
    batch: Annotated[
        int, typer.Option("--batch", min=0, help="Clips per batch at most; 1: one by one, 0: as many as fit.")
    ] = 0,
    gpus: options.Gpus = 1,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    seed: options.Seed = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
) -> None:
    """Turn the hypotheses of a synthesis policy into waveforms.

    Example: arl decode --shards emb/ --shards rollout/ --policy policy -o wav
    """
    from arl.models.decode_stage import decode as run

    if over_gpus(gpus, device):
        return
    run(
        shards, policy, out, DecodeSettings(nfe, cfg, dtype, seed), batch_s=batch_s, batch=batch,
        device=device, threads=threads, force=force, max_failed=max_failed,
    )  # fmt: skip
