# The embedded default: a 3 M-parameter LLM on Whisper tiny.en's encoder, human prompts of one speaker.
# Every value can be given on make's command line: make loop STEPS=5 LR=1e-5
START ?= examples/asr/start
STEPS ?= 32
EVAL_EVERY ?= 8
GROUP ?= 12
MAX_NEW_TOKENS ?= 160
# The paper's rewards: accuracy; with hallucinations at -1; with keywords. REWARD='$(REWARD_ALL)' trains with all three.
REWARD_R1 = --with wer
REWARD_R12 = --with wer --gate hallucination=-1
REWARD_ALL = --with wer --with keyword --gate hallucination=-1
REWARD ?= $(REWARD_R1)
UPDATE ?= --loss $(LOSS) --lr $(LR) --warmup 3 --schedule cosine --total-steps $(STEPS) --beta $(BETA)
LOSS ?= dapo
LR ?= 2e-4
BETA ?= 0.1
SEED ?= 0
CONTROL ?= --lr $(LR) --warmup 3 --schedule cosine

# Human speech in three sets that share no text: the test set, what `make start` used, and what RL trains on.
# RL's is enlarged by synthetic speech. Clips are at most 10 s, as in the starting policy's training.
HUMAN = arl data --asterisk --split test=0.45,sft=0.15,train=0.40 --shuffle --seed 7 --max-s 10 -o $(1)
TEST ?= $(DATA)/human/test
define MAKE_DATA
$(call HUMAN,$(DATA)/human)
$(Q)arl data --synthetic 700,150,0 --seed 2 --min-s 2.2 --max-s 9 --shuffle --against $(DATA)/human/test --against $(DATA)/human/train \
  --against $(DATA)/human/sft -o $(DATA)/synthetic
$(Q)arl data --shards $(DATA)/human/train --shards $(DATA)/synthetic --shuffle --seed 3 -o $(DATA)/train
endef
