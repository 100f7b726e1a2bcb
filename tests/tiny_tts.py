"""A whole synthesis policy of a few hundred kilobytes, random in every part: for stages from text to speech.

policy = make_tiny_tts_policy(tmp_path / "policy")
"""

from pathlib import Path
from typing import Any

CODES = 27  # 3^3
VOICES = ("ann", "bob")
FLOW: dict[str, Any] = {"codes": CODES, "width": 32, "layers": 2, "heads": 2, "hidden": 64, "encoder_layers": 1}
DRAFT = {"width": 32, "heads": 2, "layers": 1, "levels": 3, "dims": 3}
VOCOS: dict[str, Any] = {"width": 32, "hidden": 64, "layers": 2}


def make_tiny_decoder(seed: int = 0, vocoder: str = "vocos") -> Any:
    """An untrained decoder of a few ten thousand weights."""
    import torch

    from arl.models.qwen2_flow.decoder import Decoder
    from arl.models.qwen2_flow.flow import Flow, FlowConfig
    from arl.models.qwen2_flow.vocoder import GriffinLim, Vocos, VocosConfig

    torch.manual_seed(seed)
    flow = Flow(FlowConfig(**FLOW, draft=DRAFT))
    flow.mean.fill_(-2.0)  # audible
    return Decoder(flow, Vocos(VocosConfig(**VOCOS)) if vocoder == "vocos" else GriffinLim(n_iter=2))


def make_tiny_tts_policy(folder: Path, *, seed: int = 0) -> Path:
    """Write a policy of family qwen2-flow: a 64-wide Qwen2 of two layers over 28 characters and 27 codes, a speech
    tokenizer, two voices, and a decoder."""
    import torch

    from arl.models.qwen2_flow import build, codec, decoder
    from arl.models.qwen2_flow.mel import SPEAKER_DIM
    from arl.models.qwen2_flow.prompts import Voice, save_voices

    model = build.new_llm("64x2", CODES, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # so that responses differ
    generator = torch.Generator().manual_seed(seed)
    voices = [
        Voice(name, "one two", codes, torch.randn(SPEAKER_DIM, generator=generator).numpy())
        for name, codes in zip(VOICES, ([3, 1, 4, 1, 5], [26, 0, 9]), strict=True)
    ]

    def fill(frontend: Path) -> None:
        codec.save(codec.Codec(width=32, heads=2, before=1, after=1, levels=3, dims=3), frontend)
        decoder.save(make_tiny_decoder(seed), frontend)
        save_voices(voices, frontend)

    return build.write(folder, model, CODES, fill).path
