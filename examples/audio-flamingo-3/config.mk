# Audio Flamingo 3: 25 embeddings a second, clips of up to 10 minutes. It likes to answer in a sentence: what that quotes is scored.
START ?= nvidia/audio-flamingo-3-hf
SIZE ?= 7B
include examples/checkpoint.mk
