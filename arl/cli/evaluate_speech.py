"""`arl eval-speech`: the old name of `arl eval` for synthesised speech, kept for one release."""

from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options
from arl.evaluation.options import EvalOptions, SynthesisOptions
from arl.evaluation.sets import UNNAMED
from arl.runtime.console import warn
from arl.runtime.stage import default_out


def evaluate_speech(
    shards: options.Shards,
    out: options.Out = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Another evaluation's folder, the baseline.")
    ] = None,
    voices: Annotated[
        Path | None, typer.Option("--voices", help="Reference voices: a file, a folder of NAME.flac, or a frontend.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=0, help="How many hypotheses to write as .flac.")] = 8,
    judge: Annotated[Path | None, typer.Option("--judge", help="A Whisper checkpoint; default: tiny.en.")] = None,
    skip: Annotated[str, typer.Option("--skip", help="Not to measure, of wer,similarity,mos,f0.")] = "",
    device: options.Device = "auto",
    threads: options.Threads = 0,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """The old name of `arl eval` for synthesised speech.

    Example: arl eval-speech --shards texts/ --shards rollout/ --shards wav/ --voices policy/frontend -o eval/speech
    """
    from arl.evaluation.run import evaluate

    warn("eval-speech is deprecated: `arl eval` takes the same flags")
    evaluate(
        EvalOptions(
            {UNNAMED: shards}, [compare] if compare else [], out or default_out("eval-speech", shards),
            synthesis=SynthesisOptions(voices, judge, samples, skip, device, threads),
            seed=seed, as_json=as_json, kind="synthesis",
        )
    )  # fmt: skip
