"""Whisper's encoder + a frame-stacking projector + a Qwen2 (or any other decoder-only) LLM."""
