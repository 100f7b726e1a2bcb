"""A whole recognition policy of a few kilobytes, with a random Whisper encoder: for loops that start from audio.

policy = make_tiny_asr_policy(tmp_path / "policy")
"""

from pathlib import Path


def make_tiny_asr_policy(folder: Path, *, seed: int = 0) -> Path:
    """Write a policy of family whisper-qwen2: a 32-wide encoder of one layer, a projector, a 64-wide Qwen2."""
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from arl.models.whisper_qwen2 import build, vocabulary
    from arl.models.whisper_qwen2.frontend import Frontend, Projector

    torch.manual_seed(seed)
    config = WhisperConfig(
        d_model=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=64, num_mel_bins=80,
        max_source_positions=200, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32,
    )  # fmt: skip
    model, tokenizer, ids = build.new_llm("64x2", seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # so that responses differ
    projector = Projector(32, 64, len(vocabulary.CHARACTERS))
    frontend = Frontend(WhisperEncoder(config), projector)
    return build.write(folder, frontend, model, tokenizer, {**ids, "tower": "random", "step": 0}).path
