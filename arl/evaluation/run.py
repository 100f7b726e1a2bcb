"""What `arl eval` does: measures, summarises, compares, writes the folder and prints; or compares two folders.

    evaluate(EvalOptions({"": ["emb/test"]}, policy=Path("policy"), out=Path("eval/start")))

Left out: what is measured and counted, which each kind of evaluation states (`arl.evaluation.kind`).
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from arl.errors import UsageError
from arl.evaluation.compare import compare, paired
from arl.evaluation.folder import WRITTEN, read_rows, write
from arl.evaluation.kind import Kind
from arl.evaluation.kinds import kind_of, kind_of_folder
from arl.evaluation.metric import Row
from arl.evaluation.options import EvalOptions
from arl.evaluation.render import Block, Summary, groups, print_blocks, terminal_width
from arl.evaluation.summary import summarise
from arl.runtime.stage import Phases, default_out, peak_memory_mb
from arl.shards.durable import refuse_same_place, refuse_unwritable
from arl.shards.paths import STDIN
from arl.shards.record import StageRecord, append_record


def evaluate(options: EvalOptions) -> None:
    """The whole command."""
    require_folders(options)
    if options.sets:
        evaluate_sets(options)
    else:
        compare_folders(options)


def require_folders(options: EvalOptions) -> None:
    """UsageError unless `--compare` has A and B without sets, or with sets the baseline or nothing."""
    folders, has_sets = options.compare, bool(options.sets)
    if not folders and not has_sets:
        raise UsageError("nothing to evaluate: give --shards, --set NAME=SHARDS, or --compare A B")
    if has_sets and len(folders) > 1:
        raise UsageError("--shards and --set are evaluated against one folder: --compare A")
    if not has_sets and len(folders) != 2:
        raise UsageError("--compare takes two folders, A and B; or one, and --shards or --set to evaluate against it")


def evaluate_sets(options: EvalOptions) -> None:
    """Measures all sets, writes the folder, prints the summary."""
    kind = kind_of(options)
    baseline = read_rows(options.compare[0], kind) if options.compare else None  # before the work: it may not be there
    out = options.out or default_out("eval", options.sources)
    refuse_same_place(out, options.read, WRITTEN)
    refuse_unwritable(out, is_filled=True)
    phases = Phases()
    with phases.phase("run"):
        measured = kind.measure(options, out)
    summary = {**measured.of, **summarise(kind, measured.rows, options.seed), **measured.cost}
    if baseline is not None:
        comparison = compare(kind, measured.rows, baseline, options.seed)
        summary["compared_with"] = {"path": str(options.compare[0]), **comparison}
    write(out, measured.rows, summary, kind.report(summary, measured.rows))
    append_record(out, record_of(options, out, phases, summary))
    if options.as_json:
        print(json.dumps(summary))
    else:
        print_blocks(kind.summary_blocks(summary, terminal_width()))


def record_of(options: EvalOptions, out: Path, phases: Phases, summary: Summary) -> StageRecord:
    """The line of `stage.jsonl` beside the summary. "sets": name → the shards it was measured on, relative to `out`."""
    sets = {
        name: [os.path.relpath(Path(source).resolve(), out.resolve()) for source in sources if source != STDIN]
        for name, sources in options.sets.items()
    }
    return StageRecord(
        "eval", "summary", summary["utterances"], phases.rounded(), peak_memory_mb(), summary.get("policy"),
        figures={"sets": sets},
    )  # fmt: skip


def compare_folders(options: EvalOptions) -> None:
    """Prints how B differs from A: metrics, significance, the utterances that changed most."""
    a, b = options.compare
    kind = kind_of_folder(a)
    baseline, rows = read_rows(a, kind), read_rows(b, kind)
    result = {"a": str(a), "b": str(b), **compare(kind, rows, baseline, options.seed)}
    changed = kind.most_changed(rows, paired(rows, baseline), options.top)
    if options.as_json:
        print(json.dumps({**result, "changed": [{"a": old, "b": new} for old, new in changed]}, ensure_ascii=False))
    else:
        print_blocks(comparison_blocks(kind, result, changed))


def comparison_blocks(kind: Kind, result: Summary, changed: Sequence[tuple[Row, Row]]) -> Iterator[Block]:
    """Every set, then the utterances that changed most."""
    yield f"A: {result['a']}\nB: {result['b']}"
    for name, one in groups(result).items():
        yield from kind.comparison_blocks(name, one)
    for a, b in changed:
        yield from kind.changed_blocks(a, b, terminal_width())
