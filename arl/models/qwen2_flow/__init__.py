"""A Qwen2 LM over acoustic tokens, a flow-matching decoder and a vocoder: speech synthesis of CosyVoice2's kind."""
