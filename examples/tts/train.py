"""Trains the parts of the embedded synthesis policy on shards of speech, each from those before it.

    python examples/tts/train.py codec --shards speech/ -o parts                        # the speech tokenizer
    python examples/tts/train.py vocoder --shards speech/ -o parts                      # mel → wave; beside the codec
    python examples/tts/train.py flow --shards speech/ --parts parts                     # codes → mel
    python examples/tts/train.py policy --shards speech/ --parts parts -o policy        # with an LM that knows nothing

    python examples/tts/train.py texts --shards speech/ -o texts                         # for the loop and its test

The LM is trained by `arl update --loss sft`, the token recogniser by `arl train-token-asr`. start.mk chains them all.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(pretty_exceptions_enable=False, no_args_is_help=True)
Shards = Annotated[list[str], typer.Option("--shards", help="Shards of speech with its texts.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the trained parts.")]
Steps = Annotated[int, typer.Option("--steps", min=1)]
Seed = Annotated[int, typer.Option("--seed")]
HELD_OUT = 20  # one clip in so many is not trained on
VOICE_S = (0.9, 1.3)  # seconds of a voice's phrase
CROP = 64  # codes of a clip that the flow sees at a time
TEMPERATURE = 0.3  # of the flow's noise: RESULTS.md
SPOKEN = (15, 60)  # characters of a text that the loop says


def waves_of(shards: list[str]) -> Iterator[tuple[Any, dict[str, Any], Any]]:
    """(wave [n], its .json, log-mel [2T, 80]) of every recording that has a text to speak."""
    import torch

    from arl.audio.io import load
    from arl.errors import ArlError
    from arl.models.qwen2_flow.mel import SAMPLE_RATE, log_mel
    from arl.shards import columns
    from arl.shards.paths import joined_shards
    from arl.shards.reader import read_joined
    from arl.text.letters import spoken

    for _, paths in joined_shards(shards):
        for sample in read_joined(paths):
            meta = sample.json(columns.META)
            try:
                meta["text"] = spoken(meta["text"])
            except ArlError:
                continue
            audio = next(sample.members[kind] for kind in columns.AUDIO if kind in sample.members)
            wave = torch.from_numpy(load(audio, SAMPLE_RATE))
            yield wave, meta, log_mel(wave)


@app.command()
def codec(
    shards: Shards,
    out: Out,
    steps: Steps = 2600,
    width: Annotated[int, typer.Option("--width", help="Of a layer; a multiple of 4.")] = 160,
    dims: Annotated[int, typer.Option("--dims", help="Of the quantiser, three levels each: 3**dims codes.")] = 7,
    seed: Seed = 0,
) -> None:
    """The speech tokenizer; prints how well its recognition head reads held-out clips behind the codes."""
    import torch

    from arl.models.qwen2_flow import codec as codecs
    from arl.models.qwen2_flow.codec_train import heard, train_codec
    from arl.text.wer import Errors, word_errors

    torch.set_num_threads(1)
    found = [(mel, meta["text"]) for _, meta, mel in waves_of(shards)]
    kept = [pair for index, pair in enumerate(found) if index % HELD_OUT]
    trained = train_codec([mel for mel, _ in kept], [text for _, text in kept], steps, seed, width=width, dims=dims)
    codecs.save(trained, out)
    held = found[::HELD_OUT]
    said = heard(trained, [mel for mel, _ in held])
    errors = sum((word_errors(text, words, "en") for (_, text), words in zip(held, said, strict=True)), Errors())
    used = torch.cat(trained.encode([mel for mel, _ in held])).unique()
    print(f"codec: held-out WER {100 * errors.rate:.1f} % of {errors.length} words; {len(used)} codes in use")


@app.command()
def vocoder(shards: Shards, out: Out, steps: Steps = 4000, seed: Seed = 0) -> None:
    """From mels to waves. Griffin-Lim is written instead where it is nearer to held-out clips."""
    from statistics import fmean

    import torch
    from torch.nn.utils.rnn import pad_sequence

    from arl.models.qwen2_flow import decoder as decoders
    from arl.models.qwen2_flow.mel import log_mel, whole_codes
    from arl.models.qwen2_flow.train import train_vocoder, vocoder_loss
    from arl.models.qwen2_flow.vocoder import GriffinLim, VocosConfig

    torch.set_num_threads(1)
    waves = [wave for wave, _, _ in waves_of(shards)]
    trained = train_vocoder([w for i, w in enumerate(waves) if i % HELD_OUT], VocosConfig(), steps, seed=seed)
    held = [whole_codes(wave) for wave in waves[::HELD_OUT]]
    mels = [log_mel(wave) for wave in held]
    lengths = torch.tensor([len(mel) for mel in mels])
    losses = {}
    for made in (trained, GriffinLim()):
        with torch.no_grad():
            heard = made(pad_sequence(mels, True), lengths)
            losses[made] = fmean(
                vocoder_loss(x[None, : len(y)], y[None]).item() for x, y in zip(heard, held, strict=True)
            )
    best = min(losses, key=losses.__getitem__)
    decoders.save_vocoder(best, out)
    figures = ", ".join(f"{made.config.as_dict()['kind']} {loss:.3f}" for made, loss in losses.items())
    print(f"vocoder: held-out spectral loss {figures}; written: {best.config.as_dict()['kind']}")


@app.command()
def flow(
    shards: Shards,
    parts: Annotated[Path, typer.Option("--parts", help="Folder with the speech tokenizer; the flow joins it.")],
    steps: Steps = 2500,
    seed: Seed = 0,
) -> None:
    """Flow matching from codes to mels. A clip's speaker vector is another clip's of the speaker."""
    import random

    import torch

    from arl.models.qwen2_flow import codec as codecs
    from arl.models.qwen2_flow import decoder as decoders
    from arl.models.qwen2_flow.flow import FlowConfig
    from arl.models.qwen2_flow.mel import speaker_vector
    from arl.models.qwen2_flow.train import train_flow

    torch.set_num_threads(1)
    tokenizer, rng = codecs.load(parts), random.Random(seed)
    found = [(meta["speaker"], mel) for _, meta, mel in waves_of(shards)]
    by_speaker: dict[str, list[torch.Tensor]] = {}
    for speaker, mel in found:
        by_speaker.setdefault(speaker, []).append(speaker_vector(mel))
    codes = [row for k in range(0, len(found), 32) for row in tokenizer.encode([mel for _, mel in found[k : k + 32]])]
    pairs = [(row, rng.choice(by_speaker[speaker]), mel) for row, (speaker, mel) in zip(codes, found, strict=True)]
    config = FlowConfig(codes=tokenizer.fsq.n_codes, temperature=TEMPERATURE)
    trained = train_flow(pairs, config, steps, crop=CROP, seed=seed, draft=codecs.Draft.of(tokenizer))
    decoders.save_flow(trained, parts)


@app.command()
def policy(
    shards: Shards,
    parts: Annotated[Path, typer.Option("--parts", help="Folder with the speech tokenizer.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Policy folder to write.")],
    llm: Annotated[str, typer.Option("--llm", help="WIDTHxLAYERS.")] = "256x4",
    seed: Seed = 0,
) -> None:
    """A policy with the parts there are and an untrained LM; the first phrase of each speaker that fits is its voice
    (with the mean of its speaker vectors), that with most clips first: the voice of texts that name none."""
    import shutil

    import torch

    from arl.models.qwen2_flow import build
    from arl.models.qwen2_flow import codec as codecs
    from arl.models.qwen2_flow.mel import FRAMES_PER_CODE, TOKEN_RATE_HZ, speaker_vector
    from arl.models.qwen2_flow.prompts import Voice, save_voices

    tokenizer = codecs.load(parts)
    clips: dict[str, list[torch.Tensor]] = {}
    said: dict[str, tuple[str, torch.Tensor]] = {}
    for _, meta, mel in waves_of(shards):
        seconds = len(mel) / FRAMES_PER_CODE / TOKEN_RATE_HZ
        clips.setdefault(meta["speaker"], []).append(speaker_vector(mel))
        is_phrase = sum(len(word) > 2 for word in meta["text"].split()) > 1
        if is_phrase and VOICE_S[0] <= seconds <= VOICE_S[1]:
            said.setdefault(meta["speaker"], (meta["text"], mel))
    voices = [
        Voice(name, said[name][0], tokenizer.encode([said[name][1]])[0].tolist(), torch.stack(vectors).mean(0).numpy())
        for name, vectors in sorted(clips.items(), key=lambda item: -len(item[1]))
        if name in said
    ]

    def fill(folder: Path) -> None:
        shutil.copytree(parts, folder)
        save_voices(voices, folder)

    made = build.write(out, build.new_llm(llm, tokenizer.fsq.n_codes, seed), tokenizer.fsq.n_codes, fill)
    print(f"policy: {made.path}: voices {', '.join(f'{voice.name} ({voice.text})' for voice in voices)}")


@app.command()
def texts(
    shards: Shards,
    out: Out,
    train: Annotated[int, typer.Option("--train", help="Texts to practise on.")] = 768,
    test: Annotated[int, typer.Option("--test", help="Texts to be judged by.")] = 200,
    seed: Seed = 9,
) -> None:
    """train.txt and test.txt: telephone prompts, none of them in the shards or in both. Strings of figures and letters
    are left out: the judge has its own ways to write them."""
    import re

    import inflect

    from arl.data.corpora.synthetic import texts as drawn
    from arl.shards import columns
    from arl.shards.paths import joined_shards
    from arl.shards.reader import read_joined

    known = {
        sample.json(columns.META).get("text")
        for source in shards
        for _, paths in joined_shards([source])
        for sample in read_joined(paths)
    }
    engine = inflect.engine()
    figures = {word for n in [*range(101), 1000] for word in re.findall("[a-z]+", engine.number_to_words(n))}

    def is_wanted(text: str) -> bool:
        words = text.split()
        strings = sum(word in figures for word in words) > 1 or any(len(word) == 1 for word in words)
        return SPOKEN[0] <= len(text) <= SPOKEN[1] and not strings and text not in known

    fresh = [text for text in drawn(seed, 0, 6000, 0) if is_wanted(text)]
    out.mkdir(parents=True, exist_ok=True)
    for name, chosen in (("train", fresh[:train]), ("test", fresh[train : train + test])):
        (out / f"{name}.txt").write_text("".join(f"{text}\n" for text in chosen))
    print(f"texts: {train} and {test} of {len(fresh)} that no training has seen")


if __name__ == "__main__":
    app()
