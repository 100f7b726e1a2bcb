"""`arl train-token-asr`: codes of recordings and their texts → the recogniser that DiffRO rewards a policy by.

    arl train-token-asr --shards codes/ --shards data/train -o token-asr
    arl update --loss combined --token-asr token-asr --shards emb/ … --policy policy -o next

Some texts (--held-out, chosen by a seeded hash, so that no text is on both sides) are not trained on; its word and
character error rates on them are printed and recorded. They say whether its rewards can be trusted, no more: it is a
reward model and never the judge of a policy. What a policy has learned is measured on waveforms by another recogniser.

Texts are read in the letters a to z, Mandarin as syllables without tones (pypinyin, the extra `zh`). Codes of several
levels (SNAC, DAC) are read in the row that the LM writes, each place of a frame with rows of its own in the table. With
--tokenizer it starts as what the speech tokenizer has behind its codes, which can read them already; width and layers
are the tokenizer's then. Left out of the training, and counted: samples without codes, with a text that has other
letters or digits, or with fewer codes than the text can be read from.
"""

from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options
from arl.shards.columns import dumps


def train_token_asr(
    shards: options.Shards,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    codes: Annotated[int, typer.Option("--codes", help="How many codes there are: acoustic_codes of arl.json.")] = 729,
    steps: Annotated[int, typer.Option("--steps", help="AdamW steps, with a cosine schedule.", min=1)] = 2000,
    lr: Annotated[float, typer.Option("--lr", help="Largest learning rate.", min=0.0)] = 2e-3,
    batch: Annotated[int, typer.Option("--batch", help="Utterances a step.", min=1)] = 32,
    width: Annotated[int, typer.Option("--width", help="Of a layer; a multiple of 4.", min=4)] = 144,
    layers: Annotated[int, typer.Option("--layers", help="Blocks of convolution and attention.", min=1)] = 3,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", help="A policy's frontend: start from its speech tokenizer's recognition head."),
    ] = None,
    noise: Annotated[
        float,
        typer.Option(
            "--noise", help="Largest share of an utterance's codes replaced; others are mixed.", min=0.0, max=0.5
        ),
    ] = 0.15,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Share of the texts that it is scored on.", min=0.0, max=0.9)
    ] = 0.05,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    seed: options.Seed = 0,
    json: options.Json = False,
    force: options.Force = False,
) -> None:
    """Train the recogniser over acoustic tokens that DiffRO rewards by; it is never the judge.

    Example: arl train-token-asr --shards codes/ --shards data/train -o token-asr
    """
    from arl.models.token_asr.make import Settings, make_token_asr

    settings = Settings(codes, steps, lr, batch, width, layers, noise, held_out, seed)
    metrics = make_token_asr(shards, out, settings, tokenizer, device, threads, force)
    if json:
        print(dumps({"out": str(out), **metrics}).decode())
    elif "wer" in metrics:
        print(f"{out}: held out: WER {100 * metrics['wer']:.1f} %, CER {100 * metrics['cer']:.1f} % of "
              f"{metrics['words']} words in {metrics['utterances']} utterances")  # fmt: skip
