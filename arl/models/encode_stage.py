"""`arl encode`: shards of audio or texts → their prompts, embeddings or codes, by the policy's family.

A shard is read ahead while the one before is on the device. Left out: what is computed (each family's encode.py), and
the command's flags (arl/cli/encode.py).
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from arl.engine.session import hold_device
from arl.errors import UsageError
from arl.models import family_of
from arl.policy import Policy
from arl.runtime.ahead import ahead
from arl.runtime.budget import FailureBudget
from arl.runtime.console import progress
from arl.runtime.device import pick_device
from arl.runtime.stage import StageRun, default_out
from arl.shards.paths import joined_shards
from arl.shards.reader import read_joined

BATCH_S = 120.0
CPU_BATCH_S = 10.0  # clips of nearly one length: padding costs a CPU what speech does, and gains it nothing


def encode(
    shards: Sequence[str], source: Path, out: Path | None, *, features: bool, batch_s: float | None,
    device: str, threads: int, force: bool, max_failed: int, voice: str | None = None,
) -> None:  # fmt: skip
    """Encodes what remains of the shards with the policy at `source`.

    batch_s: None for what suits the device; voice: of every text. UsageError for what the family has not.
    """
    policy = Policy.open(source)
    family = family_of(policy, "features" if features else None)
    arguments = {"frontend": policy.frontend_id, "features": features, "prompt": policy.prompt}
    if voice is not None:
        if not policy.is_tts:
            raise UsageError(f"--voice {voice}: {policy.path} recognises speech, and has no voice")
        policy = replace(policy, fields={**policy.fields, "voice": voice})
        arguments["voice"] = voice
    if instruction := policy.fields.get("instruction"):
        arguments["instruction"] = instruction
    out = out or default_out("feat" if features else "emb", shards)
    run = StageRun("encode", out, arguments, sources=shards, force=force)
    pending = list(run.pending(joined_shards(shards)))
    if not pending:
        run.finish()
        return
    policy.verify_part("frontend")
    with run.phase("wake"):
        where = pick_device(device, threads)
    if batch_s is None:
        batch_s = CPU_BATCH_S if where.type == "cpu" else BATCH_S
    budget = FailureBudget(max_failed)
    with hold_device("encode", str(where)), progress("encode", len(pending)) as bar:
        with run.phase("wake"):
            encoder = family.encoder(policy, where, features)
        for (name, inputs), read in ahead((job, encoder.read(read_joined(job[1]))) for job in pending):
            with run.shard(name, inputs) as shard:
                with run.phase("run"):
                    rows = list(encoder.encode(read, batch_s, budget))
                for key, members, duration_s in rows:
                    shard.write(key, members)
                    shard.audio_s += duration_s
                shard.figures["policy_path"] = os.path.relpath(source, out)
            bar.advance()
        encoder.sleep()
    run.finish()
