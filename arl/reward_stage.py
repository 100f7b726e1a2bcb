"""`arl reward`: rollout shards → reward shards.

    arl reward --shards rollout/ --with wer --with ./mine.py=0.5 --gate hallucination=-1
    arl rollout --shards emb/000003.tar --tee | arl reward --shards - --shards data/000003.tar --with wer -o reward

Every reward program (stages/README.md) scores each group; the weighted sum, overridden by gates, becomes the
reward, and the group's advantages follow (arl.losses.advantages). References come from the audio shards, which
the records of the stages before lead to. A bad sample (no reference text) is a group of nulls, counted
against --max-failed; a program that breaks the contract fails the stage. The module is not named `reward`
because `arl.reward` is the decorator. Left out: running several programs at a time on the device.
"""

import json
import math
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl import options

if TYPE_CHECKING:
    from arl.encode import FailureBudget
    from arl.programs.compose import Panel
    from arl.programs.contract import Answer
    from arl.programs.resolve import Program
    from arl.programs.utterance import Hypothesis, Utterance
    from arl.reward_jobs import Scoring
    from arl.reward_tally import Tally
    from arl.shards.reader import Sample
    from arl.stage import StageRun

WAVE = re.compile(r"(\d+)\.(?:wav|flac|mp3)")  # the member of hypothesis 3 is 03.flac


def reward(
    shards: options.GrowingShards,
    out: options.Out = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="SPEC", help="Reward program: wer, ./mine.py, 'jq -c …'; =0.5 is its weight."),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option("--gate", metavar="SPEC=VALUE", help="Where this program returns 1, the reward is VALUE."),
    ] = None,
    advantage: Annotated[str, typer.Option("--advantage", help="std (eq. 1), mean or rloo.")] = "std",
    eps: Annotated[float, typer.Option("--eps", help="Added to the standard deviation.")] = 1e-6,
    child: Annotated[bool, typer.Option("--child", help="Run Python rewards as programs, not in process.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes; 0: all cores for much text, else one.")] = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
    as_json: options.Json = False,
) -> None:
    """Score the rollouts with reward programs and compute the advantages.

    Example: arl reward --shards rollout/ --with wer --with keyword=0.5 --gate hallucination=-1
    """
    from arl.console import note
    from arl.losses.advantages import advantages
    from arl.programs.compose import Panel
    from arl.programs.references import find_column
    from arl.reward_jobs import Scoring, jobs_for
    from arl.reward_tally import Tally, summary
    from arl.shards.columns import META
    from arl.shards.paths import joined_shards
    from arl.stage import StageRun, default_out

    advantages([], advantage, eps)  # refuses a wrong flag before any work
    panel = Panel.parse(with_ or [], gate or [], child)
    arguments = {**panel.fingerprint(), "advantage": advantage, "eps": eps}
    run = StageRun("reward", out or default_out("reward", shards), arguments, sources=shards, force=force)
    every = {name: Job(inputs, find_column(inputs, META)) for name, inputs in joined_shards(shards)}
    todo = {name: every[name] for name, _ in run.pending((name, job.all_inputs) for name, job in every.items())}
    scoring = Scoring(run.out, arguments, shards, panel, advantage, eps, max_failed)
    total, failed = Tally(), 0
    with closing(_scored(run, scoring, todo, jobs_for(jobs, panel, list(todo.values())))) as scored:
        for tally, bad in scored:
            total += tally
            failed += bad
    figures = total.figures() | {"failed": failed, "skipped": run.skipped, "out": str(run.out)}
    if todo:
        note(summary(figures))
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))


def _scored(
    run: "StageRun", scoring: "Scoring", todo: "Mapping[str, Job]", n_jobs: int
) -> "Generator[tuple[Tally, int], None, None]":
    """Scores the shards here or in processes; yields (counts, bad samples) of each."""
    from arl.encode import FailureBudget
    from arl.reward_jobs import score_in_processes, seldom_collecting

    if n_jobs > 1:
        yield from score_in_processes(scoring, n_jobs, todo)
    elif todo:
        budget, before = FailureBudget(scoring.max_failed), 0
        with ExitStack() as stack:
            with run.phase("wake"):
                programs = scoring.panel.open(stack)
            stack.enter_context(seldom_collecting())
            for tally in write_scores(run, todo, scoring, programs, budget):
                yield tally, budget.count - before
                before = budget.count


def write_scores(
    run: "StageRun",
    todo: "Mapping[str, Job]",
    scoring: "Scoring",
    programs: "Sequence[Program]",
    budget: "FailureBudget",
) -> "Iterator[Tally]":
    """Scores the shards one after another and writes them; yields the counts of each."""
    from arl.reward_tally import Tally
    from arl.shards.columns import REWARD, dumps
    from arl.shards.growing import growth_of

    groups_of = score_shards(list(todo.values()), scoring.panel, programs, budget)
    for name, job in todo.items():
        with run.shard(name, job.all_inputs) as shard:
            growths = [growth for path in job.all_inputs if (growth := growth_of(path)) is not None]
            before_s = sum(growth.waited_s for growth in growths)
            with run.phase("run"):
                rows = [(key, group.finished(scoring.advantage, scoring.eps)) for key, group in next(groups_of)]
            if growths:  # waiting for standard input is the time of the stage that writes it
                waited_s = sum(growth.waited_s for growth in growths)
                run.phases.seconds["run"] -= waited_s - before_s
                shard.figures["waited_s"] = round(waited_s, 4)
            for key, row in rows:
                shard.write(key, {REWARD: dumps(row)})
            tally = Tally.of(row for _, row in rows)
            shard.figures |= tally.figures()
        yield tally


@dataclass(frozen=True)
class Job:
    """One shard to score: the joined input shards, and the shard that has the references if none of them does."""

    inputs: Sequence[Path]
    references: Path | None

    @property
    def all_inputs(self) -> list[Path]:
        return [*self.inputs, *([self.references] if self.references else [])]


@dataclass(frozen=True)
class Group:
    """The scores of one utterance's hypotheses, each list [G], None where excluded."""

    components: dict[str, list[float | None]]
    rewards: list[float | None]
    metrics: dict[str, list[float | None]] = field(default_factory=dict)

    def finished(self, advantage: str, eps: float) -> dict[str, Any]:
        """The content of `reward.json`."""
        from arl.losses.advantages import advantages

        values = advantages(self.rewards, advantage, eps)
        row: dict[str, Any] = {"components": self.components, "rewards": self.rewards, "advantages": values}
        return row | {"metrics": self.metrics} if self.metrics else row


def score_shards(
    jobs: Sequence[Job], panel: "Panel", programs: "Sequence[Program]", budget: "FailureBudget"
) -> Iterator[list[tuple[str, Group]]]:
    """Yields per shard its rows (key, group), in order; the programs see one stream over all shards."""
    from arl.programs.stream import answer_stream

    rows: list[tuple[str, Group]] = []
    current = 0
    for (number, key, size), utterance, answers in answer_stream(programs, utterances(jobs, budget)):
        while current < number:
            yield rows
            rows, current = [], current + 1
        group = Group({}, [None] * size) if utterance is None else group_of(panel, answers, utterance)
        rows.append((key, group))
    while current < len(jobs):
        yield rows
        rows, current = [], current + 1


def group_of(panel: "Panel", answers: "Sequence[Answer]", utterance: "Utterance") -> Group:
    """The programs' answers to one utterance as its components, total rewards and metrics (`program.metric`).

    Speech, whose hypotheses are tokens without a text, has one metric more, the speaking rate `tokens_per_character`.
    """
    named = list(zip((program.name for program in panel.programs), answers, strict=True))
    metrics = {f"{name}.{metric}": values for name, answer in named for metric, values in answer.metrics.items()}
    if utterance.ref.strip() and not any(hyp.text for hyp in utterance.hyps):
        metrics["tokens_per_character"] = tokens_per_character(utterance)
    return Group({name: answer.rewards for name, answer in named}, panel.total(answers), metrics)


def tokens_per_character(utterance: "Utterance") -> list[float | None]:
    """Acoustic tokens per character of the text, the stop token and the spaces at the ends left out. [G]"""
    characters = len(utterance.ref.strip())
    return [(len(hyp.tokens) - (hyp.finish == "stop")) / characters for hyp in utterance.hyps]


def utterances(
    jobs: Sequence[Job], budget: "FailureBudget"
) -> "Iterator[tuple[tuple[int, str, int], Utterance | None]]":
    """Yields ((shard number, key, group size), utterance) of every sample; a bad sample has no utterance."""
    from arl.errors import ArlError
    from arl.programs.references import read_with_references

    for number, job in enumerate(jobs):
        for sample in read_with_references(job.inputs, job.references):
            hyps = hypotheses_of(sample)
            utterance = None
            try:
                utterance = utterance_of(sample, hyps)
            except ArlError as error:
                budget.spend(str(error))
            yield (number, sample.key, len(hyps)), utterance


def hypotheses_of(sample: "Sample") -> "list[Hypothesis]":
    """The group in `rollout.json`, with the waveforms of `decode` where they are joined. ArlError when malformed."""
    from arl.errors import ArlError
    from arl.programs.utterance import Clip, Hypothesis
    from arl.shards.columns import ROLLOUT

    waves: dict[int, Clip] = {}
    for extension, (path, offset, size) in sample.offsets.items():
        if found := WAVE.fullmatch(extension):
            waves[int(found[1])] = Clip(str(path.resolve()), offset, size)
    rollout = sample.json(ROLLOUT)
    try:
        return [
            Hypothesis(hyp["text"], hyp["tokens"], hyp["finish"], math.fsum(hyp["logprobs"]), waves.get(i))
            for i, hyp in enumerate(rollout["hyps"])
        ]
    except (KeyError, TypeError) as error:
        raise ArlError(f"{sample.where}: {ROLLOUT} is malformed ({error!r}); `arl check` says more") from error


def utterance_of(sample: "Sample", hyps: "list[Hypothesis]") -> "Utterance":
    """What the programs see of a sample. ArlError when it has no reference text."""
    from arl.errors import ArlError
    from arl.programs.utterance import Clip, Utterance
    from arl.shards.columns import AUDIO, META

    meta = sample.json(META)
    if not isinstance(meta, dict) or not isinstance(meta.get("text"), str):
        raise ArlError(f"{sample.where}: {META} has no text, so there is no reference to score against")
    lang, keywords = meta.get("lang") or "", meta.get("keywords") or []
    if not isinstance(lang, str) or not isinstance(keywords, list) or not all(isinstance(k, str) for k in keywords):
        raise ArlError(f"{sample.where}: {META}: 'lang' must be a string and 'keywords' a list of strings")
    rest = {name: value for name, value in meta.items() if name not in ("text", "lang", "keywords")}
    place = next((sample.offsets[name] for name in AUDIO if name in sample.offsets), None)
    audio = Clip(str(place[0].resolve()), *place[1:]) if place else None
    return Utterance(sample.key, meta["text"], lang, hyps, keywords, rest, audio)
