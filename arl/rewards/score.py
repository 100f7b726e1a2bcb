"""Groups scored by reward programs, one shard after another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arl.rewards.advantages import advantages
from arl.rewards.programs.compose import Panel
from arl.rewards.programs.contract import Answer
from arl.rewards.programs.resolve import Program
from arl.rewards.programs.stream import answer_stream
from arl.rewards.programs.utterance import Utterance
from arl.rewards.read import Job, utterances
from arl.rewards.tally import Tally
from arl.runtime.budget import FailureBudget
from arl.runtime.stage import StageRun
from arl.shards.columns import REWARD, dumps
from arl.shards.growing import growth_of


def write_scores(
    run: StageRun,
    todo: Mapping[str, Job],
    scoring: "Scoring",
    programs: Sequence[Program],
    budget: FailureBudget,
) -> Iterator[Tally]:
    """Scores the shards one after another and writes them; yields the counts of each."""
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
class Group:
    """The scores of one utterance's hypotheses, each list [G], None where excluded."""

    components: dict[str, list[float | None]]
    rewards: list[float | None]
    metrics: dict[str, list[float | None]] = field(default_factory=dict)

    def finished(self, advantage: str, eps: float) -> dict[str, Any]:
        """The content of `reward.json`."""
        values = advantages(self.rewards, advantage, eps)
        row: dict[str, Any] = {"components": self.components, "rewards": self.rewards, "advantages": values}
        return row | {"metrics": self.metrics} if self.metrics else row


def score_shards(
    jobs: Sequence[Job], panel: Panel, programs: Sequence[Program], budget: FailureBudget
) -> Iterator[list[tuple[str, Group]]]:
    """Yields per shard its rows (key, group), in order; the programs see one stream over all shards."""
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


def group_of(panel: Panel, answers: Sequence[Answer], utterance: Utterance) -> Group:
    """The programs' answers to one utterance as its components, total rewards and metrics (`program.metric`).

    Speech, whose hypotheses are tokens without a text, has one metric more, the speaking rate `tokens_per_character`.
    """
    named = list(zip((program.name for program in panel.programs), answers, strict=True))
    metrics = {f"{name}.{metric}": values for name, answer in named for metric, values in answer.metrics.items()}
    if utterance.ref.strip() and not any(hyp.text for hyp in utterance.hyps):
        metrics["tokens_per_character"] = tokens_per_character(utterance)
    return Group({name: answer.rewards for name, answer in named}, panel.total(answers), metrics)


def tokens_per_character(utterance: Utterance) -> list[float | None]:
    """Acoustic tokens per character of the text, the stop token and the spaces at the ends left out. [G]"""
    characters = len(utterance.ref.strip())
    return [(len(hyp.tokens) - (hyp.finish == "stop")) / characters for hyp in utterance.hyps]


@dataclass(frozen=True)
class Scoring:
    """What every process needs to score any shard of a run."""

    out: Path
    arguments: Mapping[str, Any]
    sources: Sequence[str]
    panel: Panel
    advantage: str
    eps: float
    max_failed: int
