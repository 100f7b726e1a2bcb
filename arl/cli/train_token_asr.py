"""`arl train-token-asr`: codes of recordings and their texts → the recogniser that DiffRO rewards a policy by.

    arl train-token-asr --shards codes/ --shards data/train -o token-asr
    arl update --loss combined --token-asr token-asr --shards emb/ … --policy policy -o next

Some texts (--held-out, chosen by a seeded hash, so that no text is on both sides) are not trained on; its word and
character error rates on them are printed and recorded. They say whether its rewards can be trusted, no more: it is a
reward model and never the judge of a policy. What a policy has learned is measured on waveforms by another recogniser.

With --tokenizer it starts as what the speech tokenizer has behind its codes, which can read them already; width and
layers are the tokenizer's then. Left out of the training, and counted: samples without codes, with a text that cannot
be spoken, or with fewer codes than the text can be read from.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl.cli import options

if TYPE_CHECKING:
    from arl.models.token_asr.train import Pair


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
    from arl.runtime.console import note
    from arl.shards.columns import dumps
    from arl.shards.paths import joined_shards
    from arl.train.job import fingerprint

    settings = {
        "codes": codes, "steps": steps, "lr": lr, "batch": batch, "width": width, "layers": layers, "noise": noise,
        "held_out": held_out, "seed": seed, "tokenizer": weights_of(tokenizer) if tokenizer else None,
    }  # fmt: skip
    found = joined_shards(shards)
    made = fingerprint(["train-token-asr"], settings, found)
    figures = None if force else already_made(out, made)
    if figures is None:
        figures = make(out, made, settings, read_pairs(found), tokenizer, device, threads)
    else:
        note(f"train-token-asr: {out} is already made from these inputs (-f redoes it)")
    if json:
        print(dumps({"out": str(out), **figures}).decode())
    elif "wer" in figures:
        print(f"{out}: held out: WER {100 * figures['wer']:.1f} %, CER {100 * figures['cer']:.1f} % of "
              f"{figures['words']} words in {figures['utterances']} utterances")  # fmt: skip


def weights_of(frontend: Path) -> str:
    """A digest of the frontend's speech tokenizer. ArlError where it has none."""
    import hashlib

    from arl.errors import ArlError

    path = frontend / "codec.safetensors"
    if not path.is_file():
        raise ArlError(f"{path}: missing; --tokenizer is the frontend of a policy that can tokenise speech")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def already_made(out: Path, made: str) -> dict[str, Any] | None:
    """The figures of a recogniser that was made from the same inputs, or None."""
    from arl.models.token_asr.model import CONFIG, read_config

    config = read_config(out) if (out / CONFIG).is_file() else {}
    return config["figures"] if config.get("made") == made else None


def read_pairs(shards: Any) -> tuple[list["Pair"], dict[str, int]]:
    """All codes with a text, and how many samples were left out for what reason. ArlError when there are none."""
    from arl.errors import ArlError
    from arl.models.token_asr.model import fewest_codes
    from arl.shards import columns
    from arl.shards.reader import read_joined

    pairs: list[Pair] = []
    left_out = {"without_codes": 0, "unspoken": 0, "too_short": 0}
    for _, paths in shards:
        for sample in read_joined(paths):
            text = sample.json(columns.META).get("text")
            if columns.CODES not in sample.members:
                left_out["without_codes"] += 1
                continue
            heard = sample.json(columns.CODES)["codes"]
            try:
                is_long_enough = len(heard) >= max(1, fewest_codes(text or ""))
            except ArlError:
                left_out["unspoken"] += 1
                continue
            if is_long_enough:
                pairs.append((heard, text))
            else:
                left_out["too_short"] += 1
    if not pairs:
        raise ArlError(f"no sample has codes and a text that they can be read as ({left_out}); `arl encode` with a "
                       "synthesis policy makes codes of recordings")  # fmt: skip
    return pairs, left_out


def make(
    out: Path, made: str, settings: dict[str, Any], found: tuple[list["Pair"], dict[str, int]],
    tokenizer: Path | None, device: str, threads: int,
) -> dict[str, Any]:  # fmt: skip
    """Trains, scores and writes the folder whole; what was measured."""
    from arl.engine.session import put_to_sleep
    from arl.errors import ArlError
    from arl.models.qwen2_flow import codec
    from arl.models.token_asr import model as token_asr
    from arl.models.token_asr.train import Recipe, score, split, train_token_asr
    from arl.policy import refuse_other, remove_stale
    from arl.runtime.device import pick_device
    from arl.runtime.lease import device_lease
    from arl.runtime.stage import Phases, peak_memory_mb
    from arl.shards.columns import dumps
    from arl.shards.durable import write_folder
    from arl.shards.record import RECORD

    phases, (pairs, left_out) = Phases(), found
    remove_stale(out)
    refuse_other(out, token_asr.CONFIG, "token recogniser")
    largest = max(max(codes) for codes, _ in pairs)
    if largest >= settings["codes"]:
        raise ArlError(f"--codes {settings['codes']}: the shards have code {largest}; give acoustic_codes of arl.json")
    train, held = split(pairs, settings["held_out"], settings["seed"])
    if not train:
        raise ArlError(f"--held-out {settings['held_out']:g}: nothing is left to train on; lower it")
    start = token_asr.TokenAsr.of(codec.load(tokenizer)) if tokenizer else None
    if start and start.n_codes != settings["codes"]:
        raise ArlError(f"{tokenizer}: a tokenizer of {start.n_codes} codes; --codes says {settings['codes']}")
    recipe = Recipe(**{name: settings[name] for name in ("steps", "lr", "batch", "noise", "seed")})
    with phases.phase("wake"):
        where = pick_device(device, threads)
    with device_lease("train-token-asr", str(where), put_to_sleep), phases.phase("run"):
        shape = {name: settings[name] for name in ("width", "layers")}
        asr = train_token_asr(train, settings["codes"], recipe, where, start, **shape)
        figures: dict[str, Any] = {"trained_on": len(train), **left_out, **(score(asr, held) if held else {})}
    line = {
        "stage": "train-token-asr", "shard": "token-asr", "made": made, "samples": len(pairs), "arguments": settings,
        "seconds": phases.rounded(), "peak_memory_mb": round(peak_memory_mb(), 1), **figures,
    }  # fmt: skip

    def fill(folder: Path) -> None:
        token_asr.save(asr.cpu(), folder, made=made, figures=figures, arguments=settings)
        (folder / RECORD).write_bytes(dumps(line) + b"\n")

    write_folder(out, fill)
    return figures
