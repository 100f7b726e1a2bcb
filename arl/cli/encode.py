"""`arl encode`: audio shards → embedding shards, once per dataset.

    arl encode --shards data/train --policy policy -o emb
    arl encode --shards texts/ --policy speaker -o emb            # a synthesis policy: see encode_speech.py

The policy's frontend (frozen audio tower + projector) runs on length-bucketed batches; each utterance
becomes `.emb.safetensors` [T, H] and `.prompt.json` with one placeholder for the clip. `--features` stops
before the projector and writes `.feat.safetensors`, which supervised training of the projector reads.
An utterance that cannot be read (counted against --max-failed) becomes an empty prompt with its error, so that
later columns keep the same rows.
Left out: training of any kind; the frontend does not change in reinforcement learning, so a dataset that
the same frontend has encoded is skipped, whatever the policy's version.
"""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from arl.audio.clips import load_shard
from arl.cli import options
from arl.models.whisper_qwen2.encode import encode_shard
from arl.runtime.budget import FailureBudget

if TYPE_CHECKING:
    pass


def encode(
    shards: options.Shards,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    features: Annotated[
        bool, typer.Option("--features", help="Write the tower's features, before the projector.")
    ] = False,
    batch_s: Annotated[float, typer.Option("--batch-s", help="Audio seconds per batch, padding included.")] = 120.0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
) -> None:
    """Compute audio embeddings, once per dataset.

    Example: arl encode --shards data/train --policy policy -o emb
    """
    from arl.engine.session import put_to_sleep
    from arl.errors import UsageError
    from arl.models import family
    from arl.models.qwen2_flow.encode import encode_texts
    from arl.policy import Policy
    from arl.runtime.ahead import ahead
    from arl.runtime.console import progress
    from arl.runtime.device import pick_device
    from arl.runtime.lease import device_lease
    from arl.runtime.model_cache import MODEL_CACHE
    from arl.runtime.offload import sleep
    from arl.runtime.stage import StageRun, default_out
    from arl.shards.paths import joined_shards
    from arl.shards.reader import read_joined

    if policy is None:
        raise UsageError("arl encode needs --policy (or ARL_POLICY)")
    opened = Policy.open(policy)
    arguments = {"frontend": opened.frontend_id, "features": features, "prompt": opened.prompt}
    out = out or default_out("feat" if features else "emb", shards)
    run = StageRun("encode", out, arguments, sources=shards, force=force)
    todo = list(run.pending(joined_shards(shards)))
    if not todo:
        return
    with run.phase("wake"):
        where = pick_device(device, threads)
    budget = FailureBudget(max_failed)
    with device_lease("encode", str(where), put_to_sleep), progress("encode", len(todo)) as bar:
        if opened.is_tts:
            encode_texts(run, todo, opened, batch_s, budget, bar, where)
            return
        with run.phase("wake"):
            kept = MODEL_CACHE.pop(opened.frontend_dir)
            frontend = (family(opened.family).frontend.load(opened.frontend_dir) if kept is None else kept).to(where)
        loaded = ahead((job, load_shard(read_joined(job[1]), frontend.sample_rate)) for job in todo)
        for (name, inputs), clips in loaded:
            with run.shard(name, inputs) as shard:
                with run.phase("run"):
                    results = list(encode_shard(clips, frontend, opened.prompt, features, batch_s, budget))
                for key, members, duration_s in results:
                    shard.write(key, members)
                    shard.audio_s += duration_s
                shard.figures["policy_path"] = os.path.relpath(policy, out)
            bar.advance()
        sleep([frontend])
        MODEL_CACHE.put(frontend, opened.frontend_dir)
