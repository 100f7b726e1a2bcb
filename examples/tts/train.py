"""Trains the parts of the embedded synthesis policy on shards of speech, each from those before it.

    python examples/tts/train.py codec --shards speech/ -o parts                        # the speech tokenizer
    python examples/tts/train.py policy --shards speech/ --parts parts -o policy        # with an LM that knows nothing
    python examples/tts/train.py decoder --shards speech/ --parts parts                  # flow matching and vocoder

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
VOICE_S = (1.6, 2.4)


def waves_of(shards: list[str]) -> Iterator[tuple[Any, dict[str, Any], Any]]:
    """(wave [n], its .json, log-mel [2T, 80]) of every recording that has a text to speak."""
    import torch

    from arl.audio.io import load
    from arl.errors import ArlError
    from arl.models.qwen2_flow.mel import SAMPLE_RATE, log_mel
    from arl.models.qwen2_flow.vocabulary import spoken
    from arl.shards import columns
    from arl.shards.paths import joined_shards
    from arl.shards.reader import read_joined

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
def codec(shards: Shards, out: Out, steps: Steps = 3000, seed: Seed = 0) -> None:
    """The speech tokenizer; prints how well its recognition head reads held-out clips behind the codes."""
    import torch

    from arl.models.qwen2_flow import codec as codecs
    from arl.models.qwen2_flow.codec_train import heard, train_codec
    from arl.text.wer import Errors, word_errors

    torch.set_num_threads(1)
    found = [(mel, meta["text"]) for _, meta, mel in waves_of(shards)]
    kept = [pair for index, pair in enumerate(found) if index % HELD_OUT]
    trained = train_codec([mel for mel, _ in kept], [text for _, text in kept], steps, seed)
    codecs.save(trained, out)
    held = found[::HELD_OUT]
    said = heard(trained, [mel for mel, _ in held])
    errors = sum((word_errors(text, words, "en") for (_, text), words in zip(held, said, strict=True)), Errors())
    used = torch.cat(trained.encode([mel for mel, _ in held])).unique()
    print(f"codec: held-out WER {100 * errors.rate:.1f} % of {errors.length} words; {len(used)} codes in use")


@app.command()
def decoder(
    shards: Shards,
    parts: Annotated[Path, typer.Option("--parts", help="Folder with the speech tokenizer; the decoder joins it.")],
    flow_steps: Annotated[int, typer.Option("--flow-steps", min=1)] = 6000,
    vocoder_steps: Annotated[int, typer.Option("--vocoder-steps", min=0, help="0: Griffin-Lim instead.")] = 6000,
    seed: Seed = 0,
) -> None:
    """Flow matching from codes to mels, then the vocoder. A clip's speaker vector is another clip's of the speaker."""
    import random

    import torch

    from arl.models.qwen2_flow import codec as codecs
    from arl.models.qwen2_flow import decoder as decoders
    from arl.models.qwen2_flow.flow import FlowConfig
    from arl.models.qwen2_flow.mel import speaker_vector
    from arl.models.qwen2_flow.train import train_flow, train_vocoder
    from arl.models.qwen2_flow.vocoder import GriffinLim, VocosConfig

    torch.set_num_threads(1)
    tokenizer, rng = codecs.load(parts), random.Random(seed)
    found = [(wave, meta["speaker"], mel) for wave, meta, mel in waves_of(shards)]
    by_speaker: dict[str, list[torch.Tensor]] = {}
    for _, speaker, mel in found:
        by_speaker.setdefault(speaker, []).append(speaker_vector(mel))
    codes = [
        row for k in range(0, len(found), 32) for row in tokenizer.encode([mel for _, _, mel in found[k : k + 32]])
    ]
    pairs = [(row, rng.choice(by_speaker[speaker]), mel) for row, (_, speaker, mel) in zip(codes, found, strict=True)]
    flow = train_flow(pairs, FlowConfig(codes=tokenizer.fsq.n_codes), flow_steps, seed=seed)
    waves = [wave for wave, _, _ in found]
    vocoder = train_vocoder(waves, VocosConfig(), vocoder_steps, seed=seed) if vocoder_steps else GriffinLim()
    decoders.save(decoders.Decoder(flow, vocoder), parts)


@app.command()
def policy(
    shards: Shards,
    parts: Annotated[Path, typer.Option("--parts", help="Folder with the speech tokenizer.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Policy folder to write.")],
    llm: Annotated[str, typer.Option("--llm", help="WIDTHxLAYERS.")] = "256x4",
    seed: Seed = 0,
) -> None:
    """A policy with the parts there are and an untrained LM; the first clip of each speaker that fits is its voice."""
    import shutil

    from arl.models.qwen2_flow import build
    from arl.models.qwen2_flow import codec as codecs
    from arl.models.qwen2_flow.mel import FRAMES_PER_CODE, TOKEN_RATE_HZ, speaker_vector
    from arl.models.qwen2_flow.prompts import Voice, save_voices

    tokenizer = codecs.load(parts)
    voices: dict[str, Voice] = {}
    for _, meta, mel in waves_of(shards):
        seconds = len(mel) / FRAMES_PER_CODE / TOKEN_RATE_HZ
        if meta["speaker"] not in voices and VOICE_S[0] <= seconds <= VOICE_S[1]:
            name, codes = meta["speaker"], tokenizer.encode([mel])[0].tolist()
            voices[name] = Voice(name, meta["text"], codes, speaker_vector(mel).numpy())

    def fill(folder: Path) -> None:
        shutil.copytree(parts, folder)
        save_voices(list(voices.values()), folder)

    made = build.write(out, build.new_llm(llm, tokenizer.fsq.n_codes, seed), tokenizer.fsq.n_codes, fill)
    print(f"policy: {made.path}: voices {', '.join(voices)}")


if __name__ == "__main__":
    app()
