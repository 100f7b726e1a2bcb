"""`arl eval`: error rates, keywords and hallucinations of a policy on held-out sets; two evaluations compared.

    arl eval --shards emb/test --policy policy -o eval/start
    arl eval --set short=emb/short --set long=emb/long --policy policy -o eval/start
    arl eval --set long=data/long --transcripts whisper.tsv -o eval/whisper     # another system's; no engine
    arl eval --compare eval/start eval/final                                    # no engine either

Writes `utterances.jsonl` (per utterance both texts, error and keyword counts, hallucination rules, alignment) and
`summary.json`; `arl/evaluation/README.md` says what each figure means. The references are found as `arl reward`
finds them. Left out: sampling; the figures are those of greedy decoding.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from arl.cli import options
from arl.errors import UsageError

Shards = Annotated[
    list[str] | None,
    typer.Option(
        "--shards",
        help="The utterances, as one set without a name: a folder, a .tar, a range, or -. Repeat to join columns.",
        callback=lambda context, shards: options.with_stdin_in_a_file(context, shards or []),
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=SHARDS", help="A set with a name. Repeatable; a name given twice joins columns."
    ),
]
Compare = Annotated[
    list[Path] | None,
    typer.Option(
        "--compare",
        metavar="A",
        help="Another eval's folder, the baseline. With a second folder B: no decoding, compare the two.",
    ),
]
Second = Annotated[list[Path] | None, typer.Argument(metavar="B", help="With --compare A: the folder compared with A.")]
Transcripts = Annotated[
    Path | None,
    typer.Option("--transcripts", help="Lines key<TAB>text, scored instead of an engine's hypotheses."),
]


def evaluate(
    second: Second = None,
    shards: Shards = None,
    sets: Sets = None,
    compare: Compare = None,
    transcripts: Transcripts = None,
    out: options.Out = None,
    policy: options.PolicyDir = None,
    engine: options.EngineDir = options.DEFAULT_ENGINE,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Longest hypothesis, in tokens.")
    ] = 256,
    top: Annotated[
        int, typer.Option("--top", min=0, help="Of --compare A B: how many of the most changed utterances to show.")
    ] = 10,
    seed: options.Seed = 0,
    max_failed: options.MaxFailed = 0,
    as_json: options.Json = False,
) -> None:
    """Word error rate, keywords and hallucinations of a policy on held-out utterances, or two evaluations compared.

    Example: arl eval --shards emb/test --policy policy -o eval/policy --compare eval/start

    Example: arl eval --set short=emb/short --set long=emb/long --policy policy -o eval/policy

    Example: arl eval --compare eval/start eval/policy --top 20
    """
    from arl.evaluation.compare import compare as compare_rows
    from arl.evaluation.figures import summarise
    from arl.evaluation.folder import read_rows, write
    from arl.evaluation.sets import parse_sets
    from arl.evaluation.show import show_summary
    from arl.runtime.stage import default_out

    parsed = parse_sets(shards or [], sets or [])
    folders = comparison_folders(bool(parsed), compare or [], second or [])
    if not parsed:
        compare_two(folders[0], folders[1], top, seed, as_json)
        return
    baseline = read_rows(folders[0]) if folders else None  # before the work: it may not be there
    out = out or default_out("eval", next(iter(parsed.values())))
    if transcripts:
        of, rows, timing = from_transcripts(transcripts, parsed, max_failed)
    else:
        of, rows, timing = from_engine(parsed, policy, engine, max_new_tokens, max_failed)
    summary = {**of, **summarise(rows, seed), **timing}
    if baseline is not None:
        summary["compared_with"] = {"path": str(folders[0]), **compare_rows(rows, baseline, seed)}
    write(out, rows, summary)
    if as_json:
        print(json.dumps(summary))
    else:
        show_summary(summary, " ".join(*of.items()))


def comparison_folders(has_sets: bool, compare: Sequence[Path], second: Sequence[Path]) -> list[Path]:
    """The folders to compare: A and B without sets; with sets the baseline, or none. UsageError for anything else.

    `--compare A B` gives B as an argument, `--compare A --compare B` gives it as a second value.
    """
    folders = [*compare, *second]
    if second and not compare:
        raise UsageError(f"{second[0]}: what is it? --shards {second[0]}, or --compare A B")
    if not folders and not has_sets:
        raise UsageError("nothing to evaluate: give --shards, --set NAME=SHARDS, or --compare A B")
    if has_sets and len(folders) > 1:
        raise UsageError("--shards and --set are evaluated against one folder: --compare A")
    if not has_sets and len(folders) != 2:
        raise UsageError("--compare takes two folders, A and B; or one, and --shards or --set to evaluate against it")
    return folders


def from_engine(
    sets: Mapping[str, Sequence[str]], policy: Path | None, engine: Path, max_new_tokens: int, max_failed: int
) -> tuple[dict[str, str], list[dict[str, Any]], dict[str, float]]:
    """({"policy": version}, rows, timing) of greedy decoding."""
    from arl.engine.session import serving_engine
    from arl.evaluation.decode import decode
    from arl.policy import Policy
    from arl.runtime.stage import policy_of_embeddings

    sources = [source for one in sets.values() for source in one]
    opened = Policy.open(policy or policy_of_embeddings(sources))
    client = serving_engine(opened, engine)
    return {"policy": opened.version}, *decode(client, opened, sets, max_new_tokens, max_failed)


def from_transcripts(
    path: Path, sets: Mapping[str, Sequence[str]], max_failed: int
) -> tuple[dict[str, str], list[dict[str, Any]], dict[str, float]]:
    """({"transcripts": path}, rows, how many failed) of another system's transcripts."""
    from arl.evaluation.decode import read_transcripts, transcribed

    return {"transcripts": str(path)}, *transcribed(read_transcripts(path), sets, max_failed)


def compare_two(a: Path, b: Path, top: int, seed: int, as_json: bool) -> None:
    """Prints how B differs from A: figures, significance, the utterances that changed most."""
    from arl.evaluation.compare import compare, most_changed
    from arl.evaluation.folder import read_rows
    from arl.evaluation.show import show_comparison

    baseline, rows = read_rows(a), read_rows(b)
    result = {"a": str(a), "b": str(b), **compare(rows, baseline, seed)}
    changed = most_changed(rows, baseline, top)
    if as_json:
        print(json.dumps({**result, "changed": [{"a": old, "b": new} for old, new in changed]}, ensure_ascii=False))
    else:
        show_comparison(result, changed)
