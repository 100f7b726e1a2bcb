"""`arl data`: recordings and transcripts → audio shards, which every other stage starts from.

    arl data --asterisk --split test=0.4,train=0.6 -o data               # human speech from Debian's packages
    arl data --folder LibriSpeech/train-clean-100 --shuffle -o data/train
    arl data --manifest cv/en/train.tsv --against data/test -o data/train
    arl data --synthetic 14000,3500,1500 --against data/test -o data/synthetic
    arl data --asterisk --max-s 10 --concatenate 20-28 -o data/long
    arl data --texts prompts.txt -o texts                                # for synthesis

One sample is `.flac` or `.wav` (mono, 16 kHz) and `.json` {"text", "lang", "duration_s", "speaker"?, "keywords"?};
joined ones also have "concatenated" (keys) and "texts". One shard is one training batch. Left out: voice activity
detection, segmentation, text normalisation.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arl.cli import options
from arl.errors import UsageError

if TYPE_CHECKING:
    from arl.data.corpora.utterance import Corpus

SOURCES = "Where from (one of)"
CHOICE = "Which utterances"


def data(
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder; with --split, one folder a split in it.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Recordings with .txt or .lab beside them, or LibriSpeech's .trans.txt.", rich_help_panel=SOURCES
        ),
    ] = None,
    kaldi: Annotated[
        Path | None, typer.Option(help="Kaldi or ESPnet data folder: wav.scp, text, …", rich_help_panel=SOURCES)
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="TSV, CSV or JSON lines: Common Voice, NeMo and the like.", rich_help_panel=SOURCES),
    ] = None,
    shards: Annotated[
        list[str] | None,
        typer.Option(help="Another tool's WebDataset tars, or shards of ours.", rich_help_panel=SOURCES),
    ] = None,
    asterisk: Annotated[
        bool, typer.Option("--asterisk", help="24 min of human English prompts (Debian).", rich_help_panel=SOURCES)
    ] = False,
    synthetic: Annotated[
        str | None,
        typer.Option(metavar="N,N,N[,clean]", help="Made speech: sentences, prompts, words.", rich_help_panel=SOURCES),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Texts to speak, a line each; no recordings.", rich_help_panel=SOURCES)
    ] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Where relative paths in --kaldi or --manifest start.", rich_help_panel=SOURCES)
    ] = None,
    allow_pipes: Annotated[
        bool, typer.Option("--allow-pipes", help="Run the commands in wav.scp.", rich_help_panel=SOURCES)
    ] = False,
    split: Annotated[
        str, typer.Option(help="Shares, as in test=0.4,train=0.6: no text is in two.", rich_help_panel=CHOICE)
    ] = "",
    against: Annotated[
        list[str] | None,
        typer.Option(help="Shards whose texts to leave out, such as a test set.", rich_help_panel=CHOICE),
    ] = None,
    min_s: Annotated[
        float | None, typer.Option(min=0, help="Leave out clips shorter than this, in seconds.", rich_help_panel=CHOICE)
    ] = None,
    max_s: Annotated[
        float | None, typer.Option(min=0, help="Leave out clips longer than this, in seconds.", rich_help_panel=CHOICE)
    ] = None,
    concatenate: Annotated[
        str,
        typer.Option(
            metavar="LOW-HIGH",
            help="Join neighbours of one speaker into clips of so many seconds, as 20-28; --min-s and --max-s are "
            "then of what is joined.",
            rich_help_panel=CHOICE,
        ),
    ] = "",
    lang: Annotated[str, typer.Option(help="Language of utterances that state none.")] = "en",
    batch: Annotated[int, typer.Option(min=1, help="Utterances per shard; a step takes one shard.")] = 32,
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="Shuffle with --seed; default: in the source's order.")
    ] = False,
    seed: options.Seed = 1,
    jobs: Annotated[int, typer.Option(min=0, envvar="ARL_JOBS", help="Processes; 0: all cores.")] = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
    json: options.Json = False,
) -> None:
    """Make audio shards from recordings with transcripts, another tool's lists, or a built-in corpus.

    Example: arl data --asterisk --split test=0.4,train=0.6 -o data
    """
    from arl.data.corpora.build import Options, build
    from arl.data.corpora.concatenate import parse as parse_seconds
    from arl.data.corpora.prepare import Limits
    from arl.data.corpora.split import parse
    from arl.runtime.console import note
    from arl.shards.columns import dumps

    given = {"--folder": folder, "--kaldi": kaldi, "--manifest": manifest, "--shards": shards,
             "--asterisk": asterisk, "--synthetic": synthetic, "--texts": texts}  # fmt: skip
    chosen = [flag for flag, value in given.items() if value]
    if len(chosen) != 1:
        raise UsageError(f"arl data takes one of {', '.join(given)}; given: {', '.join(chosen) or 'none'}")
    _refuse_stray(chosen[0], audio_root, allow_pipes)
    if texts and (min_s is not None or max_s is not None or concatenate):
        raise UsageError("--min-s, --max-s and --concatenate are of recordings; --texts has none")
    if min_s is not None and max_s is not None and min_s > max_s:
        raise UsageError(f"--min-s {min_s} is above --max-s {max_s}")
    wanted = Options(
        lang, batch, shuffle, seed, Limits(min_s, max_s), parse(split) if split else {}, against or (),
        parse_seconds(concatenate) if concatenate else None,
    )  # fmt: skip
    source = _corpus(folder, kaldi, manifest, shards, synthetic, texts, audio_root, allow_pipes, seed)
    record = build(source, out, wanted, jobs or len(os.sched_getaffinity(0)), max_failed, force)
    if json:
        print(dumps({"out": str(out), **record}).decode())
    for name, figures in record["splits"].items():
        minutes = figures["seconds"] / 60
        note(f"data: {out}: {name}: {figures['utterances']} utterances, {figures['texts']} texts, {minutes:.1f} min, "
             f"{figures['shards']} shard(s)")  # fmt: skip
    outside = "too short or long" + (", or without neighbours" if concatenate else "")
    left_out = {"bad": record["failed"], outside: record["outside"], "in --against": record["excluded"]}
    if any(left_out.values()):
        note(f"data: {out}: left out: " + ", ".join(f"{count} {why}" for why, count in left_out.items() if count))
    if record["up_to_date"]:
        note(f"data: {out}: up to date (-f redoes it)")


def _refuse_stray(source: str, audio_root: Path | None, allow_pipes: bool) -> None:
    if audio_root and source not in ("--kaldi", "--manifest"):
        raise UsageError(f"--audio-root goes with --kaldi or --manifest, not with {source}")
    if allow_pipes and source != "--kaldi":
        raise UsageError(f"--allow-pipes goes with --kaldi, not with {source}")


def _corpus(
    folder: Path | None,
    kaldi: Path | None,
    manifest: Path | None,
    shards: list[str] | None,
    synthetic: str | None,
    texts: Path | None,
    audio_root: Path | None,
    allow_pipes: bool,
    seed: int,
) -> "Corpus":
    from arl.data.corpora import asterisk as asterisk_prompts
    from arl.data.corpora import folder as folder_of_files
    from arl.data.corpora import foreign
    from arl.data.corpora import kaldi as kaldi_folder
    from arl.data.corpora import manifest as manifest_file
    from arl.data.corpora import synthetic as synthetic_speech
    from arl.data.corpora import texts as texts_to_speak

    if folder:
        return folder_of_files.corpus(folder)
    if kaldi:
        return kaldi_folder.corpus(kaldi, audio_root, allow_pipes)
    if manifest:
        return manifest_file.corpus(manifest, audio_root)
    if shards:
        return foreign.corpus(shards)
    if texts:
        return texts_to_speak.corpus(texts)
    return synthetic_speech.corpus(synthetic, seed) if synthetic else asterisk_prompts.corpus()
