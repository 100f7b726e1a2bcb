# The embedded default: a 4 M-parameter LLM on Whisper tiny.en's encoder, human prompts of one speaker.
# Every value can be given on make's command line: make loop STEPS=5 LR=1e-5
START ?= examples/asr/start
MAKE_DATA ?= arl data --asterisk --split test=0.45,sft=0.15,train=0.40 --shuffle --seed 7 --max-s 10
STEPS ?= 40
EVAL_EVERY ?= 8
GROUP ?= 12
MAX_NEW_TOKENS ?= 160
REWARD ?= --with wer
UPDATE ?= --loss grpo --lr $(LR) --beta $(BETA)
LR ?= 1e-4
BETA ?= 0.1
SEED ?= 0
CONTROL_LR ?= $(LR)
