# Phi-4-multimodal in the revision for transformers: 12.5 embeddings a second; its LoRA for speech is merged into what is trained.
START ?= microsoft/Phi-4-multimodal-instruct@refs/pr/70
SIZE ?= large
include examples/checkpoint.mk
