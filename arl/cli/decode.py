"""`arl decode`: rollout shards of a synthesis policy → one waveform per hypothesis.

    arl decode --shards emb/ --shards rollout/ --policy policy -o wav

The policy's decoder (flow matching, then the vocoder) runs over batches of similar length, formed over the whole shard.
Each hypothesis becomes `.00.flac`, `.01.flac`, …, 16 kHz 16-bit mono; one without an acoustic token 40 ms of silence.
The noise is a prefix of one sequence per utterance, named by the seed and the key: all members of a group start from
the same, and a wave depends neither on its batch nor on the size of its group (up to rounding, one step of 16 bits).
Equal hypotheses of a group are computed once. A sample without hypotheses keeps its row: `.wav.json` says why.
Left out: streaming; the reward programs read the waves in place (arl/cli/reward.py).
"""

from typing import TYPE_CHECKING, Annotated

import typer

from arl.cli import options
from arl.models.qwen2_flow.decode import decode_groups, members_of, read_groups, speakers_of, synthesis

if TYPE_CHECKING:
    pass

DTYPES = ("float32", "bfloat16")


def decode(
    shards: options.Shards,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    nfe: Annotated[int, typer.Option("--nfe", min=1, help="Steps of the flow's solver.")] = 10,
    cfg: Annotated[
        float, typer.Option("--cfg", min=0.0, help="Classifier-free guidance; 0 is off, half the work.")
    ] = 0.7,
    dtype: Annotated[str, typer.Option("--dtype", help="Of matrix products: float32 or bfloat16.")] = "float32",
    batch_s: Annotated[float, typer.Option("--batch-s", help="Audio seconds per batch, padding included.")] = 60.0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    seed: options.Seed = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
) -> None:
    """Turn the hypotheses of a synthesis policy into waveforms.

    Example: arl decode --shards emb/ --shards rollout/ --policy policy -o wav
    """
    from arl.engine.session import put_to_sleep
    from arl.errors import UsageError
    from arl.models import family
    from arl.policy import Policy
    from arl.runtime.ahead import ahead
    from arl.runtime.budget import FailureBudget
    from arl.runtime.console import progress
    from arl.runtime.device import pick_device
    from arl.runtime.lease import device_lease
    from arl.runtime.model_cache import MODEL_CACHE
    from arl.runtime.offload import sleep
    from arl.runtime.stage import StageRun, default_out, policy_of_embeddings
    from arl.shards.paths import joined_shards
    from arl.shards.reader import read_joined

    if dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype}: use {' or '.join(DTYPES)}")
    matched = joined_shards(shards)
    opened = synthesis(Policy.open(policy or policy_of_embeddings(shards)))
    settings = {"nfe": nfe, "cfg": cfg, "dtype": dtype, "seed": seed}
    arguments = {**settings, "frontend": opened.frontend_id, "acoustic": list(opened.acoustic)}
    run = StageRun("decode", out or default_out("wav", shards), arguments, sources=shards, force=force)
    todo = list(run.pending(matched))
    if not todo:
        return
    with run.phase("wake"):
        where = pick_device(device, threads)
    budget = FailureBudget(max_failed)
    with device_lease("decode", str(where), put_to_sleep):
        with run.phase("wake"):
            kept = MODEL_CACHE.pop(opened.frontend_dir)
            decoder = (family(opened.family).decoder.load(opened.frontend_dir) if kept is None else kept).to(where)
            speakers = speakers_of(opened, decoder)
        for (name, inputs), groups in ahead((job, read_groups(read_joined(job[1]), opened)) for job in todo):
            with run.shard(name, inputs) as shard:
                n_clips = sum(len(group.codes) for group in groups)
                with run.phase("run"), progress(f"decode {name}", n_clips) as bar:
                    decoded = decode_groups(groups, decoder, speakers, settings, batch_s, bar)
                for group in groups:
                    shard.write(group.key, members_of(group, decoded, budget))
                shard.audio_s = decoded.audio_s
                shard.figures |= decoded.figures() | {"groups": len(groups), "hypotheses": n_clips}
        sleep([decoder])
        MODEL_CACHE.put(decoder, opened.frontend_dir)
