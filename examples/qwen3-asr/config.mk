# Qwen3-ASR: 13 embeddings a second, clips of up to 20 minutes. Qwen's own layout is taken too: START=Qwen/Qwen3-ASR-0.6B.
START ?= Qwen/Qwen3-ASR-0.6B-hf
SIZE ?= small# medium: Qwen/Qwen3-ASR-1.7B-hf
LANGUAGE ?= sample# each utterance's lang; set to nothing, the model writes the language itself
include examples/checkpoint.mk
