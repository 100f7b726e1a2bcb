"""`arl eval`: what a policy is worth on held-out sets, recognition or synthesis; two evaluations compared.

    arl eval --shards emb/test --policy policy -o eval/start
    arl eval --set short=emb/short --set long=emb/long --policy policy -o eval/start
    arl eval --set long=data/long --transcripts whisper.tsv -o eval/whisper     # another system's; no engine
    arl eval --shards texts/ --shards rollout/ --shards wav/ --voices policy/frontend -o eval/speech
    arl eval --compare eval/start eval/final                                    # no engine either

Recognition: word errors, keywords and hallucinations of greedy transcripts. Synthesis: what the waveforms that
`arl decode` made say, in whose voice, how natural and how varied. Writes `utterances.jsonl` and `summary.json`, for
synthesis also `report.md` and samples/NNN.flac; `arl/evaluation/README.md` says what each metric means. The references
are found as `arl reward` finds them. Left out: sampling transcripts; synthesising, which is `arl rollout` and
`arl decode`.
"""

from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options
from arl.evaluation.options import EvalOptions, RecognitionOptions, SynthesisOptions
from arl.evaluation.sets import comparison_folders, parse_sets

RECOGNITION, SYNTHESIS, COMPARISON = "Recognition", "Synthesis", "Comparison"

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
Second = Annotated[list[Path] | None, typer.Argument(metavar="B", help="With --compare A: the folder compared with A.")]
Compare = Annotated[
    list[Path] | None,
    typer.Option(
        "--compare",
        metavar="A",
        rich_help_panel=COMPARISON,
        help="Another eval's folder, the baseline. With a second folder B: no evaluation, compare the two.",
    ),
]
Top = Annotated[
    int,
    typer.Option(
        "--top",
        min=0,
        rich_help_panel=COMPARISON,
        help="Of --compare A B: how many of the most changed utterances to show.",
    ),
]
Transcripts = Annotated[
    Path | None,
    typer.Option(
        "--transcripts",
        rich_help_panel=RECOGNITION,
        help="Lines key<TAB>text, scored instead of an engine's hypotheses.",
    ),
]
Engine = Annotated[
    Path,
    typer.Option(
        "--engine",
        envvar="ARL_ENGINE",
        rich_help_panel=RECOGNITION,
        help="Folder with the resident engine's socket data and log.",
    ),
]
MaxNewTokens = Annotated[
    int,
    typer.Option("--max-new-tokens", min=1, rich_help_panel=RECOGNITION, help="Longest hypothesis, in tokens."),
]
MaxFailed = Annotated[
    int,
    typer.Option("--max-failed", rich_help_panel=RECOGNITION, help="Bad samples tolerated before the stage fails."),
]
Voices = Annotated[
    Path | None,
    typer.Option(
        "--voices",
        rich_help_panel=SYNTHESIS,
        help="Reference voices: a file, a folder of NAME.flac, or a frontend.",
    ),
]
Samples = Annotated[
    int,
    typer.Option("--samples", min=0, rich_help_panel=SYNTHESIS, help="How many hypotheses to write as .flac."),
]
Judge = Annotated[
    Path | None,
    typer.Option("--judge", rich_help_panel=SYNTHESIS, help="A Whisper checkpoint; default: tiny.en."),
]
Skip = Annotated[
    str,
    typer.Option("--skip", rich_help_panel=SYNTHESIS, help="Not to measure, of wer,similarity,mos,f0."),
]
Device = Annotated[
    str,
    typer.Option("--device", envvar="ARL_DEVICE", rich_help_panel=SYNTHESIS, help="auto, cpu, cuda or cuda:N."),
]
Threads = Annotated[
    int,
    typer.Option("--threads", envvar="ARL_THREADS", rich_help_panel=SYNTHESIS, help="CPU threads; 0: all cores."),
]


def evaluate(
    context: typer.Context,
    second: Second = None,
    shards: Shards = None,
    sets: Sets = None,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
    compare: Compare = None,
    top: Top = 10,
    transcripts: Transcripts = None,
    engine: Engine = options.DEFAULT_ENGINE,
    max_new_tokens: MaxNewTokens = 256,
    max_failed: MaxFailed = 0,
    voices: Voices = None,
    samples: Samples = 8,
    judge: Judge = None,
    skip: Skip = "",
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Metrics of a policy on held-out utterances, recognition or synthesis, or two evaluations compared.

    The policy's task, or what the shards hold, says which of the two it is.

    Example: arl eval --shards emb/test --policy policy -o eval/policy --compare eval/start

    Example: arl eval --set short=emb/short --set long=emb/long --policy policy -o eval/policy

    Example: arl eval --shards texts/ --shards rollout/ --shards wav/ --voices policy/frontend -o eval/speech

    Example: arl eval --compare eval/start eval/policy --top 20
    """
    from arl.evaluation.run import evaluate as run

    run(
        EvalOptions(
            sets=parse_sets(shards or [], sets or []),
            compare=comparison_folders(compare or [], second or []),
            out=out, policy=policy, top=top, seed=seed, as_json=as_json, given=options.given(context),
            recognition=RecognitionOptions(transcripts, engine, max_new_tokens, max_failed),
            synthesis=SynthesisOptions(voices, judge, samples, skip, device, threads),
        )
    )  # fmt: skip
