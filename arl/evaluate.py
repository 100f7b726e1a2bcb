"""`arl eval`: greedy decoding through the engine, word error rate with intervals, against another run if asked.

    arl eval --shards emb/test --policy policy -o eval/start
    arl eval --shards emb/test --policy policy --compare eval/start

Writes `utterances.jsonl` (reference, hypothesis, error counts, alignment) and `summary.json`. The references are
found as `arl reward` finds them. Left out: sampling; the figure is that of greedy decoding.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl import options

if TYPE_CHECKING:
    from arl.engine.client import Engine
    from arl.policy import Policy

UTTERANCES, SUMMARY = "utterances.jsonl", "summary.json"
COUNTS = ("substitutions", "deletions", "insertions", "hits")


def evaluate(
    shards: options.Shards,
    out: options.Out = None,
    policy: options.PolicyDir = None,
    engine: options.EngineDir = options.DEFAULT_ENGINE,
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Another eval's folder: paired interval against it.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Longest hypothesis, in tokens.")
    ] = 256,
    seed: options.Seed = 0,
    max_failed: options.MaxFailed = 0,
    as_json: options.Json = False,
) -> None:
    """Word error rate of a policy on held-out utterances.

    Example: arl eval --shards emb/test --policy policy -o eval/policy --compare eval/start
    """
    from arl.policy import Policy
    from arl.rollout import policy_of_embeddings, serving_engine
    from arl.stage import default_out

    opened = Policy.open(policy or policy_of_embeddings(shards))
    client = serving_engine(opened, engine)
    baseline = read_utterances(compare) if compare else None
    rows, timing = decode(client, opened, shards, max_new_tokens, max_failed)
    summary = {"policy": opened.version, **summarise(rows, seed), **timing}
    if baseline is not None:
        summary["compared_with"] = {"path": str(compare), **compared(rows, baseline, seed)}
    folder = out or default_out("eval", shards)
    write(folder, rows, summary)
    if as_json:
        print(json.dumps(summary))
    else:
        show(summary, rows)


def decode(
    client: "Engine", policy: "Policy", shards: Sequence[str], max_new_tokens: int, max_failed: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """One row per utterance of all shards that did not fail, how many failed, and how long the engine took."""
    from arl.console import progress
    from arl.encode import FailureBudget
    from arl.programs.references import find_column, read_with_references
    from arl.rollout import audio_seconds, awake, generate, load_tokenizer
    from arl.shards.columns import META
    from arl.shards.paths import joined_shards

    samples = [
        sample
        for _, inputs in joined_shards(shards)
        for sample in read_with_references(inputs, find_column(inputs, META))
    ]
    tokenizer = load_tokenizer(policy.llm_dir)
    sampling = {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": max_new_tokens}
    with progress("eval", len(samples)) as bar, awake(client, policy, "eval"):
        start = time.monotonic()
        groups = generate(client, policy, samples, 1, sampling, 0, FailureBudget(max_failed), bar)
        seconds = time.monotonic() - start
    rows = []
    for sample, group in zip(samples, groups, strict=True):
        if group is not None:
            text = tokenizer.decode(group.hypotheses[0].tokens, skip_special_tokens=True)
            rows.append(score(sample.key, sample.json(META), text))
    audio_s = audio_seconds(samples, policy)
    timing = {"failed": len(samples) - len(rows), "seconds": round(seconds, 2), "audio_s": round(audio_s, 1)}
    return rows, timing | ({"rtf": round(seconds / audio_s, 5)} if audio_s else {})


def score(key: str, meta: dict[str, Any], hypothesis: str) -> dict[str, Any]:
    """One line of `utterances.jsonl`."""
    from arl.text.wer import align, word_errors

    lang = meta.get("lang", "en")
    errors = word_errors(meta["text"], hypothesis, lang)
    counts = {name: getattr(errors, name) for name in COUNTS}
    alignment = align(meta["text"], hypothesis, lang)
    words = {"reference": meta["text"], "hypothesis": hypothesis}
    return {"key": key, "lang": lang, **words, **counts, "alignment": alignment}


def arrays(rows: Sequence[dict[str, Any]]) -> tuple[Any, Any]:
    """(errors [n], reference words [n])."""
    import numpy as np

    errors = np.array([row["substitutions"] + row["deletions"] + row["insertions"] for row in rows])
    words = np.array([row["substitutions"] + row["deletions"] + row["hits"] for row in rows])
    return errors, words


def summarise(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    """WER with its 95 % interval and the error counts. ArlError when there is nothing to count."""
    from arl.errors import ArlError
    from arl.text.bootstrap import rate_interval

    errors, words = arrays(rows)
    if not len(rows) or not words.sum():
        raise ArlError("eval: no utterance with reference words")
    rate = rate_interval(errors, words, seed=seed)
    totals = {name: sum(row[name] for row in rows) for name in COUNTS[:3]}
    return {
        "utterances": len(rows), "words": int(words.sum()), "correct_utterances": int((errors == 0).sum()),
        "wer": rate.value, "wer_low": rate.low, "wer_high": rate.high, **totals,
    }  # fmt: skip


def compared(rows: Sequence[dict[str, Any]], baseline: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Relative WER change against the baseline with its paired interval, on the utterances that both have."""
    from arl.errors import ArlError
    from arl.text.bootstrap import paired_relative

    old = {row["key"]: row for row in baseline}
    if {row["key"] for row in rows} != set(old):
        raise ArlError("--compare: the other run evaluated other utterances; evaluate both on the same shards")
    old_errors, words = arrays([old[row["key"]] for row in rows])
    change = paired_relative(arrays(rows)[0], old_errors, seed=seed)
    return {
        "wer": float(old_errors.sum() / words.sum()), "relative": change.value,
        "relative_low": change.low, "relative_high": change.high,
    }  # fmt: skip


def read_utterances(folder: Path) -> list[dict[str, Any]]:
    """The rows of an earlier `arl eval -o folder`."""
    from arl.errors import ArlError

    path = folder / UTTERANCES
    if not path.is_file():
        raise ArlError(f"{path}: no evaluation there; `arl eval -o {folder}` makes one")
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(folder: Path, rows: Sequence[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Both files, each replaced whole; the summary last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        (UTTERANCES, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)),
        (SUMMARY, json.dumps(summary, indent=1) + "\n"),
    ):
        temporary = folder / f".{name}.tmp"
        temporary.write_text(text)
        temporary.replace(folder / name)


def show(summary: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """The table for people, on stdout."""
    from rich.table import Table

    from arl.console import stdout_console

    table = Table(title=f"policy {summary['policy']}: {summary['utterances']} utterances, {summary['words']} words")
    for name in ("WER %", "95 %", "Sub", "Del", "Ins", "utterances right", "RTF"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{100 * summary['wer']:.2f}", f"{100 * summary['wer_low']:.2f} … {100 * summary['wer_high']:.2f}",
        str(summary["substitutions"]), str(summary["deletions"]), str(summary["insertions"]),
        f"{summary['correct_utterances']}/{summary['utterances']}", f"{summary.get('rtf', 0):.4f}",
    )  # fmt: skip
    console = stdout_console()
    console.print(table)
    if summary["failed"]:
        console.print(f"{summary['failed']} utterances failed and are not in these figures")
    if other := summary.get("compared_with"):
        significant = other["relative_low"] > 0 or other["relative_high"] < 0
        console.print(
            f"against {other['path']}: WER {100 * other['wer']:.2f} % → {100 * summary['wer']:.2f} %, relative "
            f"{100 * other['relative']:+.1f} % (95 % paired: {100 * other['relative_low']:+.1f} … "
            f"{100 * other['relative_high']:+.1f} %{'' if significant else ', not significant'})"
        )
