"""What a run has done, step by step, read from its `stage.jsonl` records and evaluations.

    report(Path("runs/demo"), plot=Path("curve.png"))       # what `arl report` prints and draws
    read_step(Path("runs/demo/step-000003"))["kl"]

The curves of the picture are in `panels.py`, the warnings in `alarms.py`. Left out: what is not in the records.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from arl.errors import ArlError, UsageError
from arl.evaluation.alarms import ENDS, WATCHED, WINDOW, alarms, warning
from arl.evaluation.panels import draw, panel_fields
from arl.runtime.stages import STEP_FOLDERS
from arl.shards.record import read_record

RECORDED = ("reward", "reward_wer", "kl", "entropy", "length", "grad_norm", "zero_spread")  # of the update's record
NUMBERED = re.compile(r"^(\w+)-\d+\b")  # diversity-2.pitch: of the second program of that name
SHOWN = {
    "reward": ("reward", ".3f"),
    "sample_wer": ("WER", ".3f"),
    "kl": ("KL", ".4f"),
    "length": ("length", ".1f"),
    "lr": ("lr", "g"),
}


def report(
    run: Path, step: int | None = None, groups: bool = False, plot: Path | None = None, as_json: bool = False
) -> None:
    """Prints a line per finished step, or that of one step, and draws them. ArlError where there is none.

    groups: prints only how many groups of the step have non-zero reward variance. UsageError without a step.
    """
    if groups:
        if step is None:
            raise UsageError("arl report: --groups is of one step; give --step")
        print(groups_with_variance(run, step))
        return
    rows = read_run(run, step)
    if not rows:
        raise ArlError(f"{run}: no finished step there")
    for row in rows:
        print(json.dumps(row) if as_json else line(row))
    if plot:
        draw(rows, evaluations(run), plot)


def read_run(run: Path, step: int | None = None) -> list[dict[str, Any]]:
    """The rows of all finished steps, or of one, each with its "alarms". One step reads only what alarms look at."""
    folders = sorted(run.glob("step-*"))
    if step is None:
        return with_alarms(read_steps(folders))
    folders = [folder for folder in folders if folder.name <= f"step-{step:06d}"]
    rows = with_alarms(read_steps(folders[:ENDS] + folders[ENDS:][-WINDOW:]))
    return [row for row in rows if row["step"] == step]


def read_steps(folders: Sequence[Path]) -> list[dict[str, Any]]:
    return [row for folder in folders if (row := read_step(folder))]


def read_step(folder: Path) -> dict[str, Any] | None:
    """The row of one step: step, policy, metrics, seconds of each stage. None when its update is not done."""
    records = {stage: (lines or [{}])[-1] for stage, lines in step_records(folder).items()}
    update, rollout = records["update"], records["rollout"]
    if not update:
        return None
    row = {"step": int(folder.name.rpartition("-")[2]), "policy": update["policy"]}
    row |= {name: update[name] for name in dict.fromkeys([*RECORDED, *panel_fields()]) if name in update}
    if update.get("lr") == 0:
        row["lr"] = 0
    if "reward_wer" in row:
        row["sample_wer"] = 1 - row.pop("reward_wer")
    row["seconds"] = {
        stage: round(sum(record.get("seconds", {}).values()), 2)
        for stage, record in records.items()
        if record or stage != "decode"
    }
    row |= {k: rollout[k] for k in ("tokens_per_s", "truncated") if k in rollout}
    if watched := watched_means(read_record(folder / "reward")):
        row["watched"] = watched
    return row


def step_records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of a step by stage, [] for a stage that has none."""
    records = {stage: read_record(folder / name) for stage, name in STEP_FOLDERS.items()}
    if not records["update"]:  # the loop keeps a copy of it there, as it removes old policies
        records["update"] = read_record(folder / "policy")
    return records


def groups_with_variance(run: Path, step: int) -> int:
    """How many groups of a step have non-zero reward variance, as far as they are scored."""
    return sum(line["groups"] - line["zero_spread"] for line in read_record(run / f"step-{step:06d}" / "reward"))


def watched_means(record: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What `alarms` watches, as far as the reward stage has measured it: means over the shards of a step."""
    return component_means(record, WATCHED)


def component_means(record: Sequence[Mapping[str, Any]], names: Collection[str]) -> dict[str, float]:
    """The means, over the shards of a step, of those of `names` that the reward stage has measured."""
    sums: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for shard in {line["shard"]: line for line in record}.values():  # the last line of a shard that was done anew
        for numbered, mean in {**shard.get("component_means", {}), **shard.get("metric_means", {})}.items():
            name = NUMBERED.sub(r"\1", numbered)
            if name in names and mean is not None:
                sums[name] += mean * shard["hypotheses"]
                counts[name] += shard["hypotheses"]
    return {name: sums[name] / counts[name] for name in names if counts[name]}


def with_alarms(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, those with warnings at their step with "alarms"."""
    seen = [[*rows[: min(ENDS, end)], *rows[max(ENDS, end - WINDOW) : end]] for end in range(1, len(rows) + 1)]
    found = list(map(alarms, seen))
    return [row | {"alarms": own} if own else row for row, own in zip(rows, found, strict=True)]


def line(row: dict[str, Any]) -> str:
    """One step for a person: a line, and one for each warning."""
    shown = "  ".join(f"{label} {row[name]:{form}}" for name, (label, form) in SHOWN.items() if name in row)
    seconds = " ".join(f"{stage} {value:.1f}" for stage, value in row["seconds"].items())
    warnings = [f"\n           {warning(alarm)}" for alarm in row.get("alarms", [])]
    return f"step {row['step']:>4}  {shown}  | seconds: {seconds}" + "".join(warnings)


def evaluations(run: Path) -> dict[int, dict[str, Any]]:
    """Held-out evaluations of a run by step: `eval/NNNNNN/summary.json`."""
    found = {}
    for path in sorted((run / "eval").glob("*/summary.json")):
        if path.parent.name.isdigit():
            found[int(path.parent.name)] = json.loads(path.read_text())
    return found
