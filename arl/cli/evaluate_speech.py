"""`arl eval-speech`: what synthesised speech is like, of the waveforms that `arl decode` made.

    arl eval-speech --shards texts/ --shards rollout/ --shards wav/ --voices policy/frontend -o eval/speech
    arl eval-speech --shards texts/ --shards rollout-2/ --shards wav-2/ --compare eval/speech -o eval/speech-2

Whisper tiny.en hears it (WER, CER); similarity to the reference voice, predicted MOS, length, speaking rate, F0 and the
diversity of the group are measured, each with its bootstrap interval over utterances. Writes `utterances.jsonl`,
`summary.json`, samples/NNN.flac to listen to, and `report.md` with the figures and what was heard in the samples. The
reference is the voice of `--voices` that `.prompt.json` or the `speaker` of the `.json` names; without `--voices` the
utterance's own recording. Left out: synthesising, which is `arl rollout` and `arl decode`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl.cli import options

if TYPE_CHECKING:
    import numpy as np

    from arl.evaluation.speech import Listeners
    from arl.rewards.programs.utterance import Utterance

SKIPPED = ("wer", "similarity", "mos", "f0")
SAMPLES, REPORT = "samples", "report.md"


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
    skip: Annotated[str, typer.Option("--skip", help=f"Not to measure, of {','.join(SKIPPED)}.")] = "",
    device: options.Device = "auto",
    threads: options.Threads = 0,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Error rate, voice, naturalness, rate and diversity of synthesised speech.

    Example: arl eval-speech --shards texts/ --shards rollout/ --shards wav/ --voices policy/frontend -o eval/speech
    """
    from arl.errors import UsageError
    from arl.evaluation.folder import write
    from arl.evaluation.speech import compare as compare_rows
    from arl.evaluation.speech import measure, summarise
    from arl.evaluation.speech_show import markdown, show
    from arl.runtime.device import pick_device
    from arl.runtime.stage import default_out

    skipped = set(filter(None, skip.split(",")))
    if unknown := skipped - set(SKIPPED):
        raise UsageError(f"--skip {sorted(unknown)[0]}: of {', '.join(SKIPPED)}")
    baseline = read_rows(compare) if compare else None  # before the work: it may not be there
    out = out or default_out("eval-speech", shards)
    listeners = listeners_of(skipped, voices, judge, str(pick_device(device, threads)))
    rows, written = [], 0
    for row, waves in measure(read_utterances(shards), listeners):
        rows.append(row)
        written += write_samples(out / SAMPLES, row, waves, written, samples)
    summary = summarise(rows, seed)
    if baseline is not None:
        summary["compared_with"] = {"path": str(compare), **compare_rows(rows, baseline, seed)}
    write(out, rows, summary)
    (out / REPORT).write_text(markdown(summary, rows), encoding="utf-8")
    if as_json:
        print(json.dumps(summary))
    else:
        show(summary)


def read_utterances(shards: Sequence[str]) -> "Iterator[Utterance]":
    """Every utterance of the joined shards with its hypotheses; meta has "voice" where a prompt names it."""
    from dataclasses import replace

    from arl.evaluation.sets import UNNAMED, read_sets
    from arl.rewards.read import hypotheses_of, utterance_of
    from arl.shards.columns import PROMPT

    for _, sample in read_sets({UNNAMED: shards}):
        utterance = utterance_of(sample, hypotheses_of(sample))
        if PROMPT in sample.members and "voice" in (prompt := sample.json(PROMPT)):
            utterance = replace(utterance, meta={**utterance.meta, "voice": prompt["voice"]})
        yield utterance


def listeners_of(skipped: set[str], voices: Path | None, judge: Path | None, device: str) -> "Listeners":
    """What listens. Loads the judge and the voices; the other models load with the first waveform."""
    from arl.audio.judge import Judge
    from arl.audio.pitch import SEMITONES, pitch_std
    from arl.audio.quality import mos
    from arl.audio.speaker import embedding
    from arl.evaluation.speech import Listeners

    def f0_std(wave: "np.ndarray") -> float | None:
        octaves = pitch_std(wave)
        return None if octaves is None else SEMITONES * octaves

    return Listeners(
        transcribe=None if "wer" in skipped else Judge.load(judge, device).transcribe,
        mos=None if "mos" in skipped else lambda waves: mos(waves, device),
        f0_std=None if "f0" in skipped else f0_std,
        embed=None if "similarity" in skipped else lambda wave: embedding(wave, device),
        voice=None if "similarity" in skipped else voice_of(voices, device),
    )


def voice_of(voices: Path | None, device: str) -> "Callable[[Utterance], np.ndarray | None]":
    """The utterance → the embedding of its voice, None where there is no reference."""
    import functools

    from arl.audio.speaker import embedding
    from arl.audio.waves import read_wave
    from arl.evaluation.voices import Voices

    known = Voices.load(voices) if voices else Voices({})

    @functools.cache
    def named(name: str) -> "np.ndarray | None":
        wave = known.of(name)
        return None if wave is None else embedding(wave, device)

    def voice(utterance: "Utterance") -> "np.ndarray | None":
        if utterance.audio is not None and voices is None:
            wave = read_wave(utterance.audio, "eval-speech: reference")
            return None if wave is None else embedding(wave, device)
        return named(str(utterance.meta.get("voice") or utterance.meta.get("speaker") or ""))

    return voice


def write_samples(folder: Path, row: dict[str, Any], waves: Sequence[Any], done: int, wanted: int) -> int:
    """The utterance's first hypothesis as samples/NNN.flac, until `wanted` are written; 1 where it was, else 0."""
    from arl.audio.io import encode_flac

    if done >= wanted or not waves or waves[0] is None:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{done:03d}.flac"
    (folder / name).write_bytes(encode_flac(waves[0]))
    row["sample"] = f"{SAMPLES}/{name}"
    return 1


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of an earlier `arl eval-speech -o folder`. ArlError when there are none."""
    from arl.errors import ArlError
    from arl.evaluation.folder import UTTERANCES
    from arl.evaluation.speech import FIELDS

    path = folder / UTTERANCES
    if not path.is_file():
        raise ArlError(f"{path}: no evaluation there; `arl eval-speech -o {folder}` makes one")
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except ValueError as error:
        raise ArlError(f"{path}: not the rows of an evaluation ({error}); evaluate again") from error
    if not rows or any(name not in row for row in rows for name in FIELDS):
        raise ArlError(f"{path}: not the rows of `arl eval-speech`; evaluate again")
    return rows
