"""What a run has done, step by step, read from its `stage.jsonl` records and evaluations."""

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from arl.evaluation.alarms import ENDS, WATCHED, WINDOW, alarms, warning
from arl.evaluation.picture import picture
from arl.runtime.stages import STEP_FOLDERS
from arl.shards.record import read_record

FIGURES = ("reward", "reward_wer", "kl", "entropy", "length", "grad_norm", "zero_spread")  # of the update's record


NUMBERED = re.compile(r"^(\w+)-\d+\b")  # diversity-2.pitch: of the second program of that name


def read_step(folder: Path) -> dict[str, Any] | None:
    """The figures of one step, or None when its update is not done."""
    records = {stage: (read_record(folder / name) or [{}])[-1] for stage, name in STEP_FOLDERS.items()}
    if not records["update"]:  # the loop keeps a copy of it there, as it removes old policies
        records["update"] = (read_record(folder / "policy") or [{}])[-1]
    update, rollout = records["update"], records["rollout"]
    if not update:
        return None
    row = {"step": int(folder.name.rpartition("-")[2]), "policy": update["policy"]}
    row |= {name: update[name] for name in FIGURES if name in update}
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


def groups_with_variance(folder: Path) -> int:
    """How many groups of a step have non-zero reward variance, as far as they are scored."""
    return sum(line["groups"] - line["zero_spread"] for line in read_record(folder / "reward"))


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
    labels = {
        "reward": ("reward", ".3f"),
        "sample_wer": ("WER", ".3f"),
        "kl": ("KL", ".4f"),
        "length": ("length", ".1f"),
    }
    shown = "  ".join(f"{label} {row[name]:{form}}" for name, (label, form) in labels.items() if name in row)
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


def draw_wer(axis: Any, held_out: Mapping[int, Mapping[str, Any]], **options: Any) -> None:
    """Word error rates in per cent, with their intervals, by step. options: of matplotlib's errorbar."""
    y = [100 * summary["wer"] for summary in held_out.values()]
    below = [max(0.0, 100 * (s["wer"] - s["wer_low"])) for s in held_out.values()]
    above = [max(0.0, 100 * (s["wer_high"] - s["wer"])) for s in held_out.values()]
    axis.errorbar(list(held_out), y, yerr=[below, above], fmt="s-", capsize=3, **options)


def draw(rows: list[dict[str, Any]], held_out: dict[int, dict[str, Any]], path: Path) -> None:
    """Three panels over steps: WER (samples and held-out), KL, length; the reward where no sample has a WER."""
    with picture(path, 3, figsize=(7, 8), sharex=True, height_ratios=(3, 1, 1)) as axes:
        top, middle, bottom = axes[:, 0]
        x = [row["step"] for row in rows]
        has_wer = any("sample_wer" in row for row in rows) or held_out
        name, scale = ("sample_wer", 100) if has_wer else ("reward", 1)
        top.plot(x, [scale * row.get(name, math.nan) for row in rows], ".-", label="training samples")
        if held_out:
            draw_wer(top, held_out, label="held-out, greedy (95 %)")
        top.set_ylabel("WER %" if has_wer else "reward")
        top.legend()
        for axis, figure_name, label in ((middle, "kl", "KL, nats/token"), (bottom, "length", "tokens")):
            axis.plot(x, [row.get(figure_name, math.nan) for row in rows], ".-")
            axis.set_ylabel(label)
        bottom.set_xlabel("step")
