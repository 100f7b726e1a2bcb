"""`arl rollout`: prompts → a group of hypotheses per utterance, from the resident engine.

    arl rollout --shards emb/ --group 12
    arl rollout --shards emb/000003.tar --tee | arl reward --shards - --shards data/000003.tar --with wer -o reward

All utterances of a shard are in flight at once; the engine computes each prompt once per group. A group is written
as soon as it and those before it have finished, so that with --tee rewards are computed meanwhile. Writes
`.rollout.json`: the policy's version, the temperature, and per hypothesis its text, tokens, log-probabilities
and how it finished. Left out: training data of any other kind; the reference transcript is never read here.
Where no engine runs, one is started for `--policy` (default: the policy the embeddings were made with) and stays.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arl.cli import options
from arl.engine.generate import audio_seconds, figures, generate, rollout_member
from arl.engine.session import awake, serving_engine
from arl.policy import load_tokenizer
from arl.runtime.stage import policy_of_embeddings

if TYPE_CHECKING:
    from arl.engine.client import Group
    from arl.runtime.stage import OpenShard
    from arl.shards.reader import Sample


def rollout(
    shards: options.Shards,
    out: options.Out = None,
    group: Annotated[int, typer.Option("--group", "-g", min=1, help="Hypotheses per utterance, G.")] = 12,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="Sampling temperature; 0 is greedy.")
    ] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", min=0.0, max=1.0, help="Nucleus sampling; 1 is off.")] = 1.0,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Longest hypothesis, in tokens.")
    ] = 256,
    tee: Annotated[
        bool,
        typer.Option("--tee", help="Write the shard to standard output too, as its groups finish."),
    ] = False,
    policy: options.PolicyDir = None,
    engine: options.EngineDir = options.DEFAULT_ENGINE,
    seed: options.Seed = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
) -> None:
    """Generate a group of hypotheses for each utterance.

    Example: arl rollout --shards emb/ --group 12
    """
    from arl.policy import Policy
    from arl.runtime.ahead import ahead
    from arl.runtime.budget import FailureBudget
    from arl.runtime.console import note, progress
    from arl.runtime.stage import StageRun, default_out
    from arl.shards.paths import joined_shards
    from arl.shards.reader import read_joined

    matched = joined_shards(shards)
    copy = pipe_for(len(matched)) if tee else None
    opened = Policy.open(policy or policy_of_embeddings(shards))
    client = serving_engine(opened, engine)
    sampling = {"temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens}
    arguments = {"group": group, "seed": seed, **sampling}
    run = StageRun("rollout", out or default_out("rollout", shards), arguments, shards, opened.version, force)
    tokenizer = load_tokenizer(opened.llm_dir)
    budget = FailureBudget(max_failed)
    for (name, inputs), samples in ahead((job, list(read_joined(job[1]))) for job in run.pending(matched)):
        with run.shard(name, inputs, copy) as shard:

            def write(sample: "Sample", result: "Group | None", shard: "OpenShard" = shard) -> None:
                hypotheses = result.hypotheses if result is not None else []  # a row without hypotheses keeps the join
                shard.write(sample.key, rollout_member(hypotheses, tokenizer, opened, temperature))

            shown = progress(f"rollout {name}", len(samples))
            with run.phase("run"), awake(client, opened, "rollout"), shown as bar:
                start = time.monotonic()
                groups = generate(client, opened, samples, group, sampling, seed, budget, bar, write)
                seconds = time.monotonic() - start
            peak = client.metrics().peak
            shard.figures |= figures([result for result in groups if result is not None], seconds)
            shard.figures |= {"running_peak": peak.running, "queued_peak": peak.queued}
            if opened.is_tts:
                shard.audio_s = shard.figures["generated_tokens"] / opened.fields["token_rate_hz"]
            else:
                shard.audio_s = audio_seconds(samples, opened) * (group if temperature > 0 else 1)
        note(f"rollout: {name}: {shard.figures['groups']} groups, {shard.figures['tokens_per_s']:.0f} tokens/s")
    if copy is not None and run.skipped:
        send_file(run.path(matched[0][0]), copy)


def pipe_for(n_shards: int) -> int:
    """The descriptor of standard output for --tee. UsageError for a terminal, and for more than one shard."""
    from arl.errors import UsageError

    if n_shards != 1:
        raise UsageError(f"--tee: standard output is one shard, these are {n_shards}; name one")
    if sys.stdout.isatty():
        raise UsageError("--tee: standard output is a terminal, a shard belongs into a pipe: | arl reward --shards -")
    return sys.stdout.fileno()


def send_file(path: Path, descriptor: int) -> None:
    """A finished shard to a pipe; where nobody reads it, that is no failure."""
    from arl.shards.writer import write_all

    with suppress(BrokenPipeError):
        write_all(descriptor, path.read_bytes())
