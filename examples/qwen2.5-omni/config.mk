# The thinker of Qwen2.5-Omni: 25 embeddings a second. The instruction is the family's own, without punctuation.
START ?= Qwen/Qwen2.5-Omni-3B
SIZE ?= large# 7B: Qwen/Qwen2.5-Omni-7B
include examples/checkpoint.mk
