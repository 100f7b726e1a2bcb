"""Evaluations of several arms and seeds → the table of `make table1`, in Markdown, and its plot.

    python examples/asr/table1.py runs/table1/runs-test -o examples/asr/RESULTS.md --plot examples/asr/table1.png

RUNS/base is the starting policy's evaluation, RUNS/ARM/SEED/final each run's: folders of `arl eval` with the same sets.
A figure is pooled over the seeds of an arm. Its 95 % interval is by bootstrap over utterances and seeds: a draw takes
utterances and, independently, seeds with replacement. Changes are paired with the base on the same draw. With three
seeds an interval knows little of how seeds vary: each seed's own figure stands beside it. Left out: correction for
having several rows.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from arl.errors import ArlError
from arl.evaluation.figures import METRICS, Metric, all_columns, table
from arl.evaluation.folder import read_rows
from arl.text.bootstrap import Interval, interval_of

BASE = "base"
BEGIN, END = "<!-- table1: written by make table1 -->", "<!-- table1: end -->"
NAMES = {
    "base": "base", "R1-D0": "R1 / D0", "R12-D0": "R1,2 / D0", "R12-D02": "R1,2 / D0,2", "R12-D12": "R1,2 / D1,2",
    "Rall-Dall": "R_all / D_all", "MWER-Dall": "MWER / D_all", "SFT-Dall": "SFT / D_all",
}  # fmt: skip
DRAWS = 10_000
BY_NAME = {metric.name: metric for metric in METRICS}
COLUMNS = ("wer", "insertion_rate", "deletion_rate", "substitution_rate", "hallucination_rate", "keyword_f1")


@dataclass(frozen=True)
class Arm:
    """What one row of the table is made from. counts: set → [seeds, utterances, columns of `all_columns()`]."""

    name: str
    seeds: tuple[str, ...]
    counts: Mapping[str, np.ndarray]


def main(
    runs: Annotated[Path, typer.Argument(help="The folder with base/ and ARM/SEED/final/.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Markdown to write; of a page with the two marks, what is between them.")
    ],
    plot: Annotated[Path | None, typer.Option("--plot", help="Picture to write (needs matplotlib).")] = None,
) -> None:
    """Make Table 1 from the evaluations of its runs.

    Example: python examples/asr/table1.py runs/table1/runs-test -o TABLE1.md --plot table1.png
    """
    arms = read_arms(runs)
    text = markdown(arms)
    if plot:
        draw(arms, plot)
        text += f"\n![Change of the word error rate, by policy and set]({plot.name})\n"
    out.write_text(placed(text, out.read_text(encoding="utf-8") if out.exists() else ""), encoding="utf-8")
    print(f"table1: {out}" + (f", {plot}" if plot else ""), file=sys.stderr)


def placed(text: str, page: str) -> str:
    """The page with the text between its marks, or the text alone where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{text}{end}{after}" if begin and end else text


def read_arms(runs: Path) -> list[Arm]:
    """The base, then the arms that have a finished run, in the order of NAMES. ArlError when there are none, or when
    two evaluations are not of the same utterances."""
    base = by_set(runs / BASE)
    keys = {name: [row["key"] for row in rows] for name, rows in base.items()}
    found = {}
    for folder in sorted({path.parent.parent.parent for path in runs.glob("*/*/final/summary.json")}):
        seeds = sorted(path.parent.parent.name for path in folder.glob("*/final/summary.json"))
        found[folder.name] = Arm(folder.name, tuple(seeds), stacked([folder / seed / "final" for seed in seeds], keys))
    if not found:
        raise ArlError(f"{runs}: no finished run; `make table1` makes them")
    order = [name for name in NAMES if name in found] + sorted(name for name in found if name not in NAMES)
    return [Arm(BASE, (), stacked([runs / BASE], keys)), *(found[name] for name in order)]


def by_set(folder: Path) -> dict[str, list[dict[str, Any]]]:
    sets: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(read_rows(folder), key=lambda row: row["key"]):
        sets.setdefault(row["set"], []).append(row)
    return dict(sorted(sets.items(), key=lambda item: item[0] != "short"))


def stacked(folders: Sequence[Path], keys: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Set → [folders, utterances, columns]; the utterances of each are those of `keys`."""
    layers: dict[str, list[np.ndarray]] = {name: [] for name in keys}
    for folder in folders:
        sets = by_set(folder)
        if {name: [row["key"] for row in rows] for name, rows in sets.items()} != keys:
            raise ArlError(f"{folder}: not the utterances of the base's evaluation; evaluate both on the same shards")
        for name, rows in sets.items():
            layers[name].append(table(rows))
    return {name: np.stack(layer) for name, layer in layers.items()}


def drawn(counts: np.ndarray, seed: int) -> np.ndarray:
    """[seeds, utterances, columns] → [DRAWS, columns]: sums over drawn seeds of drawn utterances. The utterances of a
    draw depend only on `seed` and how many there are, so that two arms are paired."""
    n_seeds, n_utterances, _ = counts.shape
    weights = np.random.default_rng(seed).multinomial(n_utterances, np.full(n_utterances, 1 / n_utterances), DRAWS)
    picks = np.random.default_rng(seed + 1).multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), DRAWS)
    per_seed = np.einsum("du,suc->dsc", weights.astype(float), counts.astype(float), optimize=True)
    return np.einsum("ds,dsc->dc", picks / n_seeds, per_seed)


def pooled(counts: np.ndarray, metric: Metric, seed: int = 0) -> Interval | None:
    """A metric over all seeds and utterances, with its interval."""
    return interval_of(float(metric.of(counts.mean(0).sum(0))), metric.of(drawn(counts, seed)))


def change(counts: np.ndarray, base: np.ndarray, metric: Metric, seed: int = 0) -> Interval | None:
    """(value − base) / base, paired; None where the base is 0 or not defined."""
    value, start = (float(metric.of(each.mean(0).sum(0))) for each in (counts, base))
    if not start > 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = metric.of(drawn(counts, seed)) / metric.of(drawn(base, seed)) - 1
    return interval_of(value / start - 1, draws)


def each_seed(counts: np.ndarray, metric: Metric) -> list[float]:
    return [float(metric.of(one.sum(0))) for one in counts]


def markdown(arms: Sequence[Arm]) -> str:
    """A table of word error rates over all sets, then one of everything for each set."""
    base, sets = arms[0], list(arms[0].counts)
    blocks = [
        "WER % with its 95 % interval, the change against the base (relative, paired), and each seed's WER:\n\n"
        + rows(["policy", *(f"{name} {what}" for name in sets for what in ("WER %", "change %", "seeds"))],
               [[label(arm), *(cell for name in sets for cell in overview(arm, base, name))] for arm in arms])
    ]  # fmt: skip
    for name in sets:
        counts = base.counts[name]
        head = ["policy", *(f"{BY_NAME[column].label} %" for column in COLUMNS)]
        body = [[label(arm), *(percent(pooled(arm.counts[name], BY_NAME[c])) for c in COLUMNS)] for arm in arms]
        blocks.append(f"Set `{name}`: {counts.shape[1]} utterances, {words_of(counts)} words.\n\n" + rows(head, body))
    return "\n\n".join(blocks) + "\n"


def words_of(counts: np.ndarray) -> int:
    names = all_columns()
    return int(sum(counts[0].sum(0)[names.index(name)] for name in BY_NAME["wer"].denominator))


def overview(arm: Arm, base: Arm, name: str) -> list[str]:
    """WER, change and seeds of an arm on a set."""
    wer, counts = BY_NAME["wer"], arm.counts[name]
    if arm is base:
        return [percent(pooled(counts, wer)), "–", "–"]
    relative = change(counts, base.counts[name], wer)
    seeds = " ".join(f"{100 * value:.1f}" for value in each_seed(counts, wer))
    return [percent(pooled(counts, wer)), percent(relative, "+.1f"), seeds]


def label(arm: Arm) -> str:
    return NAMES.get(arm.name, arm.name)


def percent(interval: Interval | None, form: str = ".2f") -> str:
    """'38.21 (33.54 … 43.27)'."""
    if interval is None:
        return "–"
    value, low, high = (format(100 * each, form) for each in (interval.value, interval.low, interval.high))
    return f"{value} ({low} … {high})"


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(arms: Sequence[Arm], path: Path) -> None:
    """One panel a set: each arm's relative change of WER with its interval, and a dot for each seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    base, wer = arms[0], BY_NAME["wer"]
    sets, trained = list(base.counts), arms[1:]
    size = (4 * len(sets), 0.5 * len(trained) + 1.6)
    figure, axes = pyplot.subplots(1, len(sets), figsize=size, sharey=True, squeeze=False)
    for axis, name in zip(axes[0], sets, strict=True):
        start = each_seed(base.counts[name], wer)[0]
        for place, arm in enumerate(trained):
            found = change(arm.counts[name], base.counts[name], wer)
            if found is not None:
                error = 100 * np.array([[found.value - found.low], [found.high - found.value]])
                axis.errorbar(100 * found.value, place, xerr=np.maximum(error, 0), fmt="s", capsize=3, color="C0")
            dots = [100 * (value / start - 1) for value in each_seed(arm.counts[name], wer)]
            axis.plot(dots, [place + 0.18] * len(dots), ".", color="C1")
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set_title(f"{name} (base {100 * start:.1f} %)")
        axis.set_xlabel("relative change of WER, %")
    axes[0][0].set_yticks(range(len(trained)), [label(arm) for arm in trained])
    axes[0][0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    try:
        typer.run(main)
    except ArlError as error:
        sys.exit(f"table1: {error}")
