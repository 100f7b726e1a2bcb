"""Groups scored by reward programs, one shard after another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.rewards.advantages import advantages
from arl.rewards.programs.compose import Panel
from arl.rewards.programs.contract import Answer
from arl.rewards.programs.patience import TIMEOUT_S
from arl.rewards.programs.resolve import Program
from arl.rewards.programs.stream import answer_stream
from arl.rewards.programs.utterance import Utterance
from arl.rewards.reading import RewardJob, utterances
from arl.rewards.tally import ScoreTally
from arl.runtime.budget import FailureBudget
from arl.runtime.stage import StageRun
from arl.shards.growing import growth_of
from arl.shards.rows import Reward


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
    timeout_s: float = TIMEOUT_S


def write_scores(
    run: StageRun,
    todo: Mapping[str, RewardJob],
    scoring: Scoring,
    programs: Sequence[Program],
    budget: FailureBudget,
) -> Iterator[ScoreTally]:
    """Scores the shards one after another and writes them; yields the counts of each."""
    groups_of = score_shards(list(todo.values()), scoring.panel, programs, budget)
    for name, job in todo.items():
        with run.shard(name, job.all_inputs) as shard:
            growths = [growth for path in job.all_inputs if (growth := growth_of(path)) is not None]
            before_s = sum(growth.waited_s for growth in growths)
            with run.phase("run"):
                rows = [(key, group.finished(key, scoring.advantage, scoring.eps)) for key, group in next(groups_of)]
            if growths:  # waiting for standard input is the time of the stage that writes it
                waited_s = sum(growth.waited_s for growth in growths)
                run.phases.seconds["run"] -= waited_s - before_s
                shard.figures["waited_s"] = round(waited_s, 4)
            for key, row in rows:
                shard.write(key, row.members())
            tally = ScoreTally.of(row for _, row in rows)
            shard.figures |= tally.figures()
        yield tally


@dataclass(frozen=True)
class ScoredGroup:
    """The scores of one utterance's hypotheses, each list [G], None where excluded."""

    components: dict[str, list[float | None]]
    rewards: list[float | None]
    metrics: dict[str, list[float | None]] = field(default_factory=dict)

    def finished(self, key: str, advantage: str, eps: float) -> Reward:
        """The row of the reward column. ArlError where a number is too large to train on."""
        row = Reward(self.components, self.rewards, advantages(self.rewards, advantage, eps), self.metrics)
        for problem in row.problems(row.to_json()):
            raise ArlError(f"sample {key!r}: {problem}: the programs' answers are too large; divide them")
        return row


def score_shards(
    jobs: Sequence[RewardJob], panel: Panel, programs: Sequence[Program], budget: FailureBudget
) -> Iterator[list[tuple[str, ScoredGroup]]]:
    """Yields per shard its rows (key, group), in order; the programs see one stream over all shards."""
    rows: list[tuple[str, ScoredGroup]] = []
    current = 0
    for (number, key, size), utterance, answers in answer_stream(programs, utterances(jobs, budget)):
        while current < number:
            yield rows
            rows, current = [], current + 1
        group = ScoredGroup({}, [None] * size) if utterance is None else group_of(panel, answers, utterance)
        rows.append((key, group))
    while current < len(jobs):
        yield rows
        rows, current = [], current + 1


def group_of(panel: Panel, answers: Sequence[Answer], utterance: Utterance) -> ScoredGroup:
    """The programs' answers to one utterance as its components, total rewards and metrics (`program.metric`).

    Speech, whose hypotheses are tokens without a text, has one metric more, the speaking rate `tokens_per_character`.
    """
    named = list(zip((program.name for program in panel.programs), answers, strict=True))
    metrics = {f"{name}.{metric}": values for name, answer in named for metric, values in answer.metrics.items()}
    if utterance.ref.strip() and not any(hyp.text for hyp in utterance.hyps):
        metrics["tokens_per_character"] = tokens_per_character(utterance)
    return ScoredGroup({name: answer.rewards for name, answer in named}, panel.total(answers), metrics)


def tokens_per_character(utterance: Utterance) -> list[float | None]:
    """Acoustic tokens per character of the text, the stop token and the spaces at the ends left out. [G]"""
    characters = len(utterance.ref.strip())
    return [(len(hyp.tokens) - (hyp.finish == "stop")) / characters for hyp in utterance.hyps]
