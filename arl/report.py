"""`arl report`: what a run has done, read from its `stage.jsonl` records.

    arl report --run runs/demo                     # a line per step
    arl report --run runs/demo --step 3            # the line of one step: what the loop prints
    arl report --run runs/demo --plot curve.png    # reward, WER of the samples, KL and held-out WER by step

Below the line of a step stand warnings of `arl.alarms`: what fell while the reward rose.

Left out: anything that is not in the records and the evaluations; it computes nothing anew.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from arl import options

STAGES = ("rollout", "reward", "update", "sync")
FIGURES = ("reward", "reward_wer", "kl", "entropy", "length", "grad_norm", "zero_spread")  # of the update's record


def report(
    run: Annotated[Path, typer.Option("--run", help="A run folder with step-NNNNNN/ in it.")],
    step: Annotated[int | None, typer.Option("--step", help="Only this step.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the curves to a file (needs matplotlib).")] = None,
    as_json: options.Json = False,
) -> None:
    """Print a line per step: reward, WER of the samples, KL, length, seconds by stage.

    Example: arl report --run runs/demo
    """
    from arl.errors import ArlError

    folders = [run / f"step-{step:06d}"] if step is not None else sorted(run.glob("step-*"))
    rows = [row | warnings(folder) for folder in folders if (row := read_step(folder))]
    if not rows:
        raise ArlError(f"{run}: no finished step there")
    for row in rows:
        print(json.dumps(row) if as_json else line(row))
    if plot:
        draw(rows, evaluations(run), plot)


def read_step(folder: Path) -> dict[str, Any] | None:
    """The figures of one step, or None when its update is not done."""
    from arl.stage import read_record

    records = {stage: (read_record(folder / stage) or [{}])[-1] for stage in STAGES}
    if not records["update"]:  # the loop keeps a copy of it there, as it removes old policies
        records["update"] = (read_record(folder / "policy") or [{}])[-1]
    update, rollout = records["update"], records["rollout"]
    if not update:
        return None
    row = {"step": int(folder.name.rpartition("-")[2]), "policy": update["policy"]}
    row |= {name: update[name] for name in FIGURES if name in update}
    if "reward_wer" in row:
        row["sample_wer"] = 1 - row.pop("reward_wer")
    row["seconds"] = {stage: round(sum(records[stage].get("seconds", {}).values()), 2) for stage in STAGES}
    row |= {k: rollout[k] for k in ("tokens_per_s", "truncated") if k in rollout}
    return row


def warnings(folder: Path) -> dict[str, list[str]]:
    """{"alarms": [...]} at this step, from it and the steps before; {} where there is nothing to warn of."""
    from arl.alarms import WINDOW, alarms, watched

    step = int(folder.name.rpartition("-")[2])
    before = [folder.parent / f"step-{number:06d}" for number in range(max(1, step - WINDOW + 1), step + 1)]
    found = alarms([watched(one) for one in before])
    return {"alarms": found} if found else {}


def line(row: dict[str, Any]) -> str:
    """One step for a person, a line; each alarm is one more."""
    labels = {
        "reward": ("reward", ".3f"),
        "sample_wer": ("WER", ".3f"),
        "kl": ("KL", ".4f"),
        "length": ("length", ".1f"),
    }
    shown = "  ".join(f"{label} {row[name]:{form}}" for name, (label, form) in labels.items() if name in row)
    seconds = " ".join(f"{stage} {value:.1f}" for stage, value in row["seconds"].items())
    alarms = "".join(f"\n  warning: {alarm}" for alarm in row.get("alarms", []))
    return f"step {row['step']:>4}  {shown}  | seconds: {seconds}{alarms}"


def evaluations(run: Path) -> dict[int, dict[str, Any]]:
    """Held-out evaluations of a run by step: `eval/NNNNNN/summary.json`."""
    found = {}
    for path in sorted((run / "eval").glob("*/summary.json")):
        if path.parent.name.isdigit():
            found[int(path.parent.name)] = json.loads(path.read_text())
    return found


def draw(rows: list[dict[str, Any]], held_out: dict[int, dict[str, Any]], path: Path) -> None:
    """Three panels over steps: WER (samples and held-out), KL, length; the reward where no sample has a WER."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        from arl.errors import ArlError

        raise ArlError("--plot needs matplotlib: pip install 'arl[demo]'") from error
    figure, (top, middle, bottom) = pyplot.subplots(3, 1, figsize=(7, 8), sharex=True, height_ratios=(3, 1, 1))
    x = [row["step"] for row in rows]
    has_wer = any("sample_wer" in row for row in rows) or held_out
    name, scale = ("sample_wer", 100) if has_wer else ("reward", 1)
    top.plot(x, [scale * row.get(name, math.nan) for row in rows], ".-", label="training samples")
    if held_out:
        y = [100 * summary["wer"] for summary in held_out.values()]
        below = [max(0.0, 100 * (s["wer"] - s["wer_low"])) for s in held_out.values()]
        above = [max(0.0, 100 * (s["wer_high"] - s["wer"])) for s in held_out.values()]
        top.errorbar(list(held_out), y, yerr=[below, above], fmt="s-", capsize=3, label="held-out, greedy (95 %)")
    top.set_ylabel("WER %" if has_wer else "reward")
    top.legend()
    for axis, figure_name, label in ((middle, "kl", "KL, nats/token"), (bottom, "length", "tokens")):
        axis.plot(x, [row.get(figure_name, math.nan) for row in rows], ".-")
        axis.set_ylabel(label)
    bottom.set_xlabel("step")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
