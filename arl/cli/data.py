"""`arl data`: recordings and transcripts → audio shards, which every other stage starts from.

    arl data --asterisk --split test=0.4,train=0.6 -o data               # human speech from Debian's packages
    arl data --folder LibriSpeech/train-clean-100 --shuffle -o data/train
    arl data --manifest cv/en/train.tsv --against data/test -o data/train
    arl data --amazon-queen --by speaker --split test=jim+naomi,train=rest -o data/voices
    arl data --synthetic 14000,3500,1500 --against data/test -o data/synthetic
    arl data --asterisk --max-s 10 --concatenate 20-28 -o data/long
    arl data --texts prompts.txt -o texts                                # for synthesis

One sample is `.flac` or `.wav` (mono, 16 kHz) and `.json` {"text", "lang", "duration_s", "speaker"?, "keywords"?};
joined ones also have "concatenated" (keys) and "texts". One shard is one training batch. Left out: voice activity
detection, segmentation, text normalisation.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from arl.cli import options
from arl.shards.columns import dumps

SOURCES = "Where from (one of)"
CHOICE = "Which utterances"
SplitBy = Literal["text", "speaker"]


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
    amazon_queen: Annotated[
        bool,
        typer.Option("--amazon-queen", help="3.8 h of acted English, 29 characters (Debian).", rich_help_panel=SOURCES),
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
    by: Annotated[
        SplitBy,
        typer.Option(
            help="--split so that no speaker is in two either: shares of speakers, or their names, as in "
            "test=ann+bob,train=rest.",
            rich_help_panel=CHOICE,
        ),
    ] = "text",
    speed: Annotated[
        str,
        typer.Option(metavar="S,S,S", help="Every clip at each speed, as 0.9,1,1.1.", rich_help_panel=CHOICE),
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
    from arl.data.corpora.data_stage import Selection, make_shards
    from arl.data.corpora.utterance import SourceOptions

    sources = {"folder": folder, "kaldi": kaldi, "manifest": manifest, "shards": shards, "asterisk": asterisk,
               "amazon_queen": amazon_queen, "synthetic": synthetic, "texts": texts}  # fmt: skip
    selection = Selection(lang, batch, shuffle, seed, min_s, max_s, split, against or (), concatenate, by,
                          speed)  # fmt: skip
    source = SourceOptions(audio_root, allow_pipes, seed)
    record = make_shards(sources, out, selection, source, jobs, max_failed, force)
    if json:
        print(dumps(record).decode())
