# GLM-ASR: 12.5 embeddings a second, three end ids.
START ?= zai-org/GLM-ASR-Nano-2512
SIZE ?= medium
include examples/checkpoint.mk
