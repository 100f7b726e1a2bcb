"""`arl init`: a checkpoint → a policy folder.

    arl init --from examples/asr/start -o policy                    # the shipped starting policy
    arl init --from openai/whisper-small --llm Qwen/Qwen2.5-0.5B -o policy
    arl init --from whisper-tiny.en --llm new:256x4 -o policy       # from scratch, then `arl update --loss sft`
    arl init --from whisper-base --stack 4 --llm new:256x4 --subwords 300 --texts data/train -o policy
    arl init --from Qwen/Qwen3-ASR-1.7B-hf --language en -o policy  # a speech LLM: its own tower, LLM and prompt
    arl init --from CosyVoice2-0.5B --voice ann=ann.wav:'hello there' -o policy     # synthesis, as it is downloaded
    arl init --from Llasa-1B --codec xcodec2-hf -o policy           # a plain LM of a codec's codes

The checkpoint's configuration says which model family takes it (arl/models/).
Left out: training; a fresh projector knows nothing until `arl update --loss sft` has trained it.
"""

from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options
from arl.errors import UsageError
from arl.models import InitOptions, Subwords


def init(
    source: Annotated[str, typer.Option("--from", help="A slim policy, whisper-tiny.en, whisper-base, a checkpoint.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Policy folder to write.")],
    llm: Annotated[
        str | None,
        typer.Option("--llm", help="For an audio encoder: new:WIDTHxLAYERS (new:256x4), a causal LM's folder or name."),
    ] = None,
    stack: Annotated[
        int | None, typer.Option("--stack", min=1, help="For an audio encoder: its frames (20 ms) per embedding (2).")
    ] = None,
    instruction: Annotated[
        str | None, typer.Option("--instruction", help="For a speech LLM: what to ask of it, in place of its own.")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", help="For a speech LLM: a code for its prompt (en), or sample: each utterance's."),
    ] = None,
    hotwords: Annotated[
        bool, typer.Option("--hotwords", help="For a speech LLM: each utterance's keywords go into its prompt.")
    ] = False,
    voice: Annotated[
        list[str] | None,
        typer.Option(
            "--voice", help="Of synthesis: NAME=FILE:TRANSCRIPT of a recording; Qwen3-TTS: NAME=FILE.safetensors."
        ),
    ] = None,
    codec: Annotated[
        str | None, typer.Option("--codec", help="For an LM of codes (Llasa, Orpheus, …): the folder of its codec.")
    ] = None,
    subwords: Annotated[
        int, typer.Option("--subwords", min=0, help="Of --llm new: size of its vocabulary; 0: characters.")
    ] = 0,
    texts: Annotated[
        list[str] | None, typer.Option("--texts", help="Shards whose transcripts the subwords are made of.")
    ] = None,
    seed: options.Seed = 0,
) -> None:
    """Make a policy folder from a checkpoint.

    Example: arl init --from examples/asr/start -o policy
    """
    from arl.models.convert import init_policy

    if bool(subwords) != bool(texts):
        raise UsageError("--subwords and --texts go together: how many, and the shards whose transcripts they are of")
    made_of = Subwords(subwords, tuple(texts)) if texts else None
    asked = InitOptions(llm, stack, seed, instruction, language, hotwords, tuple(voice or ()), codec, made_of)
    init_policy(source, out, asked)
