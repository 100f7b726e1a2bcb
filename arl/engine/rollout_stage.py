"""The rollout stage: prompts → a group of hypotheses per utterance, shard by shard, from the resident engine.

All utterances of a shard are in flight at once, and the next shard is read meanwhile. A group is written as soon as it
and those before it have finished. Left out: the requests themselves (generate.py).

    roll_out(["emb/"], None, Sampling(group=12), engine=Path(".arl/engine"))
"""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.engine.client import CompletionGroup, Engine
from arl.engine.generate import audio_seconds, figures, generate, rollout_member
from arl.engine.session import awake, serving_engine
from arl.errors import UsageError
from arl.policy import Policy, load_tokenizer
from arl.runtime.ahead import ahead
from arl.runtime.budget import FailureBudget
from arl.runtime.console import note, progress
from arl.runtime.stage import OpenShard, StageRun, default_out, policy_of_embeddings
from arl.shards.paths import joined_shards
from arl.shards.reader import Sample, read_joined
from arl.shards.writer import write_all


@dataclass(frozen=True)
class Sampling:
    """group: hypotheses per utterance, G. temperature: 0 is greedy, one hypothesis. top_p: 1 is off.
    max_new_tokens: the longest hypothesis, in tokens. top_k: of the likeliest tokens; 0 is off."""

    group: int = 12
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0
    top_k: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """What the engine is told with each request."""
        always = {"temperature": self.temperature, "top_p": self.top_p, "max_new_tokens": self.max_new_tokens}
        return always | ({"top_k": self.top_k} if self.top_k else {})

    @property
    def arguments(self) -> dict[str, Any]:
        """All that changes the result."""
        return {"group": self.group, "seed": self.seed, **self.options}


def roll_out(
    shards: Sequence[str],
    out: Path | None,
    sampling: Sampling,
    *,
    engine: Path,
    policy: Path | None = None,
    tee: bool = False,
    force: bool = False,
    max_failed: int = 0,
) -> None:
    """Writes the rollout shards of the joined `shards`, of those that are not done.

    policy: default: the one that the embeddings were made with. tee: the shard goes to standard output too, as its
    groups finish. UsageError where that is a terminal or there are several shards. ArlError as `serving_engine`, and
    for more than `max_failed` bad samples.
    """
    matched = joined_shards(shards)
    copy = pipe_for(len(matched)) if tee else None
    opened = Policy.open(policy or policy_of_embeddings(shards))
    client = serving_engine(opened, engine)
    run = StageRun(
        "rollout", out or default_out("rollout", shards), sampling.arguments, shards, opened.version, force
    )  # fmt: skip
    rollout = _Rollout(run, client, opened, sampling, load_tokenizer(opened.llm_dir), FailureBudget(max_failed))
    for (name, inputs), samples in ahead((job, list(read_joined(job[1]))) for job in run.pending(matched)):
        with run.shard(name, inputs, copy) as shard:
            rollout.fill(shard, name, samples)
        note(f"rollout: {name}: {shard.figures['groups']} groups, {shard.figures['tokens_per_s']:.0f} tokens/s")
    run.finish()
    if copy is not None and run.skipped:
        send_file(run.path(matched[0][0]), copy)


@dataclass(frozen=True)
class _Rollout:
    """One invocation: what every shard of it needs."""

    run: StageRun
    client: Engine
    policy: Policy
    sampling: Sampling
    tokenizer: Any
    budget: FailureBudget

    def fill(self, shard: OpenShard, name: str, samples: Sequence[Sample]) -> None:
        """Generates and writes the groups of one shard, and the figures of its record."""

        def write(sample: Sample, group: CompletionGroup | None) -> None:
            hypotheses = group.hypotheses if group is not None else []  # a row without hypotheses keeps the join
            member = rollout_member(hypotheses, self.tokenizer, self.policy, self.sampling.temperature)
            shard.write(sample.key, member)

        group, options, seed = self.sampling.group, self.sampling.options, self.sampling.seed
        shown = progress(f"rollout {name}", len(samples))
        with self.run.phase("run"), awake(self.client, self.policy, "rollout"), shown as bar:
            start = time.monotonic()
            groups = generate(
                self.client, self.policy, samples, group, options, seed, self.budget, bar, write
            )  # fmt: skip
            seconds = time.monotonic() - start
        peak = self.client.metrics().peak
        shard.figures |= figures([group for group in groups if group is not None], seconds)
        shard.figures |= {"running_peak": peak.running, "queued_peak": peak.queued}
        shard.audio_s = self._audio_s(shard, samples)

    def _audio_s(self, shard: OpenShard, samples: Sequence[Sample]) -> float:
        """Seconds of audio, of all hypotheses, that were recognised or are spoken by the generated tokens."""
        if self.policy.is_tts:
            return shard.figures["generated_tokens"] / self.policy.given("token_rate_hz")
        return audio_seconds(samples, self.policy) * (self.sampling.group if self.sampling.temperature > 0 else 1)


def pipe_for(n_shards: int) -> int:
    """The descriptor of standard output for `tee`. UsageError for a terminal, and for more than one shard."""
    if n_shards != 1:
        raise UsageError(f"--tee: standard output is one shard, these are {n_shards}; name one")
    if sys.stdout.isatty():
        raise UsageError("--tee: standard output is a terminal, a shard belongs into a pipe: | arl reward --shards -")
    return sys.stdout.fileno()


def send_file(path: Path, descriptor: int) -> None:
    """A finished shard to a pipe; where nobody reads it, that is no failure."""
    with suppress(BrokenPipeError):
        write_all(descriptor, path.read_bytes())
