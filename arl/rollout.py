"""`arl rollout`: prompts → a group of hypotheses per utterance, from the resident engine.

    arl rollout --shards emb/ --group 12
    arl rollout --shards emb/000003.tar --tee | arl reward --shards - --shards data/000003.tar --with wer -o reward

All utterances of a shard are in flight at once; the engine computes each prompt once per group. A group is written
as soon as it and those before it have finished, so that with --tee rewards are computed meanwhile. Writes
`.rollout.json`: the policy's version, the temperature, and per hypothesis its text, tokens, log-probabilities
and how it finished. Left out: training data of any other kind; the reference transcript is never read here.
Where no engine runs, one is started for `--policy` (default: the policy the embeddings were made with) and stays.
"""

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl import options

if TYPE_CHECKING:
    from arl.console import Progress
    from arl.encode import FailureBudget
    from arl.engine.client import Engine, Group
    from arl.policy import Policy
    from arl.shards.reader import Sample
    from arl.stage import OpenShard


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
    from arl.ahead import ahead
    from arl.console import note, progress
    from arl.encode import FailureBudget
    from arl.policy import Policy
    from arl.shards.paths import joined_shards
    from arl.shards.reader import read_joined
    from arl.stage import StageRun, default_out

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


def policy_of_embeddings(shards: Sequence[str]) -> Path:
    """The policy that the `encode` record beside the embeddings names. ArlError when there is none."""
    from arl.errors import UsageError
    from arl.stage import read_record

    for source in shards:
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
        for line in read_record(folder):
            if "policy_path" in line:
                return folder / line["policy_path"]
    raise UsageError(f"{', '.join(shards)}: no record of the policy these embeddings were made with; give --policy")


def serving_engine(policy: "Policy", engine: Path) -> "Engine":
    """The engine, started for `policy` if none runs. ArlError if it serves another version: sync first."""
    from arl.console import note
    from arl.engine import server
    from arl.engine.client import Engine
    from arl.errors import ArlError

    running = server.status(engine)
    if running is None:
        note(f"no engine in {engine}: starting one for {policy.path} (`arl engine stop` ends it)")
    if running is None or running.state != "ready":
        server.start(policy.path, engine)
    client = Engine(server.connect(engine))
    if client.version() != policy.version:
        raise ArlError(
            f"the engine in {engine} serves policy {client.version()}, not {policy.version} of {policy.path}; "
            f"run: arl sync --policy {policy.path} --engine {engine}"
        )
    return client


@contextmanager
def awake(client: "Engine", policy: "Policy", stage: str) -> Iterator[None]:
    """Holds the device for the engine, which has its memory back with the policy's weights if it was asleep."""
    from arl.lease import device_lease

    with device_lease(stage, client.served.device):
        client.wake(policy.llm_dir, policy.version)
        yield


def load_tokenizer(llm_dir: Path) -> Any:
    """The policy's tokenizer by the `tokenizers` library alone, which is quick to import."""
    from tokenizers import Tokenizer

    from arl.errors import ArlError

    path = llm_dir / "tokenizer.json"
    if not path.is_file():
        raise ArlError(f"{path}: missing; the policy needs a fast tokenizer")
    return Tokenizer.from_file(str(path))


def hypothesis_seeds(seed: int, key: str, group: int) -> list[int]:
    """One 31-bit seed per hypothesis from the stage's seed and the utterance's key: the same in any batch and order."""
    digests = (hashlib.sha256(f"{seed}/{key}/{index}".encode()).digest() for index in range(group))
    return [int.from_bytes(digest[:4], "little") >> 1 for digest in digests]


def generate(
    client: "Engine", policy: "Policy", samples: "Sequence[Sample]", group: int, sampling: dict[str, Any], seed: int,
    budget: "FailureBudget", bar: "Progress", done: "Callable[[Sample, Group | None], None] | None" = None,
) -> "list[Group | None]":  # fmt: skip
    """The group of each sample, all in flight at once; None for a sample whose requests failed twice, and, without a
    request, for one that `arl encode` has counted as failed.

    done: called with each sample and its group in the samples' order, as soon as that group and all before it are
    there, while the engine works on the rest. Temperature 0 is greedy decoding: one hypothesis, whatever `group` says.
    """
    import asyncio

    from arl.encode import failed_to_encode
    from arl.engine.client import GroupFailed
    from arl.engine.load import watched
    from arl.shards import columns

    greedy, longest = sampling["temperature"] == 0, sampling["max_new_tokens"]

    results: dict[int, Group | None] = {}
    handed_out = 0

    async def answered(index: int) -> None:
        nonlocal handed_out
        results[index] = await one(samples[index])
        while done is not None and handed_out in results:
            done(samples[handed_out], results[handed_out])
            handed_out += 1

    async def one(sample: "Sample") -> "Group | None":
        seeds = hypothesis_seeds(seed, sample.key, group)
        try:
            if failed_to_encode(sample):
                return None
            prompt = sample.json(columns.PROMPT)
            kinds = [columns.EMB] if columns.EMB in sample.members or not policy.is_tts else []
            audio = [columns.tensor_reference(sample, kind, columns.EMB_TENSOR) for kind in kinds]
            own = sampling | {"max_new_tokens": min(longest, prompt.get("max_new_tokens", longest))}
            return await client.generate_group(prompt["input_ids"], audio, seeds=seeds, greedy=greedy, **own)
        except GroupFailed as error:
            budget.spend(f"{sample.key}: {error}")
            return None
        finally:
            bar.advance()

    async def everything() -> None:
        async with client, watched(client):
            await asyncio.gather(*map(answered, range(len(samples))))

    asyncio.run(everything())
    return [results[index] for index in range(len(samples))]


def rollout_member(hypotheses: list[Any], tokenizer: Any, policy: "Policy", temperature: float) -> dict[str, bytes]:
    """The `.rollout.json` of one utterance."""
    from arl.shards import columns

    rows = [
        {
            "text": tokenizer.decode(hyp.tokens, skip_special_tokens=True),
            "tokens": hyp.tokens,
            "logprobs": [round(value, 7) for value in hyp.logprobs],
            "finish": hyp.finish,
        }
        for hyp in hypotheses
    ]
    return {columns.ROLLOUT: columns.dumps({"policy": policy.version, "temperature": temperature, "hyps": rows})}


def figures(groups: "list[Group]", seconds: float) -> dict[str, Any]:
    """The engine's own counts for a shard; prefilled: prompt tokens computed, about one prompt per group."""
    hyps = [hyp for group in groups for hyp in group.hypotheses]
    generated = sum(len(hyp.tokens) for hyp in hyps)
    return {
        "groups": len(groups),
        "hypotheses": len(hyps),
        "generated_tokens": generated,
        "prompt_tokens": sum(group.prompt_tokens for group in groups),
        "prefilled_tokens": sum(group.prefilled_tokens for group in groups),
        "truncated": sum(hyp.finish == "length" for hyp in hyps),
        "length_mean": round(generated / max(1, len(hyps)), 3),
        "tokens_per_s": round(generated / max(seconds, 1e-9), 1),
    }


def audio_seconds(samples: "Sequence[Sample]", policy: "Policy") -> float:
    """Seconds of audio behind the embeddings, by their length and the frontend's rate."""
    from arl.encode import failed_to_encode
    from arl.shards import columns

    rate = policy.fields.get("embedding_rate_hz")
    if not rate:
        return 0.0
    encoded = [sample for sample in samples if not failed_to_encode(sample)]
    clips = (columns.tensor_reference(sample, columns.EMB, columns.EMB_TENSOR) for sample in encoded)
    return sum(clip["shape"][0] for clip in clips) / rate
