"""What every script of the benchmark takes: `--quick`, `--json FILE`, `--threads N`; and Markdown tables.

python -m benchmarks.update --quick
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def main(measure: Callable[[bool], Result], page: Callable[[Result], str], threads: int = 1) -> None:
    """Runs a script: measures, prints its section of the page, and writes the result as JSON where asked.

    threads: the default of --threads; 0 leaves it to the programs that are run.
    """
    parser = argparse.ArgumentParser(description=sys.modules[measure.__module__].__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cells and repeats: a look, not a result")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--threads", type=int, default=threads, help="CPU threads of each side; 0: their own default")
    given = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "ARL_THREADS"):
        os.environ.pop(name, None)
        if given.threads:
            os.environ[name] = str(given.threads)
    result = measure(given.quick)
    if given.json:
        given.json.write_text(json.dumps(rounded(result), indent=1, sort_keys=True) + "\n")
    print(page(result))


def scratch() -> Path:
    """`.bench/`, which git ignores: environments and temporary folders of the benchmark."""
    folder = Path(".bench").absolute()
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    return folder


def rounded(value: Any) -> Any:
    """Floats to five significant digits: more of them say nothing."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def target(what: str, value: float, wanted: float, at_least: bool = True) -> Result:
    """One figure that must hold, for the table on top of the page."""
    held = value >= wanted if at_least else value <= wanted
    return {"what": what, "value": value, "wanted": f"{'≥' if at_least else '≤'} {wanted:g}", "held": bool(held)}


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the first column is text, the others stand to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def with_spread(figure: Mapping[str, float], unit: str = "") -> str:
    """Median, with the lowest and highest in brackets."""
    shown = number(figure["median"]) + unit
    return f"{shown} ({number(figure['low'])}-{number(figure['high'])})" if figure["n"] > 1 else shown
