# VibeVoice-ASR: 24 kHz, 7.5 embeddings a second, JSON with times and speakers around the words, so responses are long.
START ?= microsoft/VibeVoice-ASR-HF
SIZE ?= 7B
MAX_NEW_TOKENS ?= 768
GROUP ?= 6
include examples/checkpoint.mk
