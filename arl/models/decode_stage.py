"""`arl decode`: rollout shards of a synthesis policy → one waveform per hypothesis, by the policy's family.

A shard is read ahead while the one before is on the device. Left out: the models (each family's decode.py), and the
command's flags (arl/cli/decode.py).
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from arl.engine.session import hold_device
from arl.models import DecodeSettings, family_of
from arl.models.decode_shard import decode_groups, members_of, read_groups
from arl.policy import Policy
from arl.runtime.ahead import ahead
from arl.runtime.budget import FailureBudget
from arl.runtime.console import progress
from arl.runtime.device import pick_device
from arl.runtime.stage import StageRun, default_out, policy_of_embeddings
from arl.shards.paths import joined_shards
from arl.shards.reader import read_joined


def decode(
    shards: Sequence[str], source: Path | None, out: Path | None, settings: DecodeSettings, *, batch_s: float,
    batch: int = 0, device: str, threads: int, force: bool, max_failed: int,
) -> None:  # fmt: skip
    """Decodes what remains of the shards. source: the policy; None for the one that encoded the prompts. batch: of how
    many clips at most, 0 is any number. UsageError where its family has no decoder."""
    matched = joined_shards(shards)
    policy = Policy.open(source or policy_of_embeddings(shards))
    family = family_of(policy, "decoder")
    arguments = {**asdict(settings), "frontend": policy.frontend_id, "acoustic": list(policy.acoustic)}
    run = StageRun("decode", out or default_out("wav", shards), arguments, sources=shards, force=force)
    pending = list(run.pending(matched))
    if not pending:
        run.finish()
        return
    policy.verify_part("frontend")
    with run.phase("wake"):
        where = pick_device(device, threads)
    budget = FailureBudget(max_failed)
    with hold_device("decode", str(where)):
        with run.phase("wake"):
            synthesiser = family.synthesiser(policy, where, settings)
        for (name, inputs), groups in ahead((job, read_groups(read_joined(job[1]), policy)) for job in pending):
            with run.shard(name, inputs) as shard:
                n_clips = sum(len(group.codes) for group in groups)
                with run.phase("run"), progress(f"decode {name}", n_clips) as bar:
                    decoded = decode_groups(groups, synthesiser, settings.seed, batch_s, batch, bar)
                for group in groups:
                    shard.write(group.key, members_of(group, decoded, budget))
                shard.audio_s = decoded.audio_s
                shard.figures |= decoded.figures() | {"groups": len(groups), "hypotheses": n_clips}
        synthesiser.sleep()
    run.finish()
