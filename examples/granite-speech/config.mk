# Granite Speech: 10 embeddings a second; its own LoRA for speech is merged into what is trained, and taken out again at export.
START ?= ibm-granite/granite-speech-3.3-2b
SIZE ?= medium# 7B: ibm-granite/granite-speech-3.3-8b
include examples/checkpoint.mk
