# One speaker's telephone prompts: a small corpus of short clips, and a start that was stopped early (Whisper tiny.en's encoder,
# 25 embeddings a second, characters).
#     make loop CONFIG=examples/asr/prompts.mk RUN=runs/prompts
START ?= $(PROMPTS_START)
STEPS ?= 32
EVAL_EVERY ?= 8
GROUP ?= 12
ROLLOUT ?=
MAX_NEW_TOKENS ?= 160
LR ?= 2e-4
BETA ?= 0.1
TEST ?= $(DATA)/human/test
include examples/asr/config.mk

# RL's human speech is enlarged by synthetic speech. Clips are at most 10 s, as in the starting policy's training.
define MAKE_DATA
$(call PROMPTS,$(DATA)/human)
$(Q)arl data --synthetic 700,150,0 --seed 2 --min-s 2.2 --max-s 9 --shuffle --against $(DATA)/human/test --against $(DATA)/human/train \
  --against $(DATA)/human/sft -o $(DATA)/synthetic
$(Q)arl data --shards $(DATA)/human/train --shards $(DATA)/synthetic --shuffle --seed 3 -o $(DATA)/train
endef
