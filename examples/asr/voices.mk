# Recognition of speakers that were in no training: acted speech of 29 characters, test and development each with speakers
# and texts of their own. Everything is chosen with ON=dev; ON=test is read once for a figure that is printed.
#     make voices-start CONFIG=examples/asr/voices.mk                 # rebuilds the start
#     make loop CONFIG=examples/asr/voices.mk RUN=runs/voices ON=dev
START ?= examples/asr/voices-start
ON ?= test
TRAIN ?= $(DATA)/rl
TEST ?= $(DATA)/voices/$(ON)
# Chosen on the development set. Near the mode, hypotheses differ where greedy decoding is in doubt; the noise of a gradient
# is that of the utterances, so a step has many and few hypotheses of each.
STEPS ?= 57
EVAL_EVERY ?= 19
GROUP ?= 6
ROLLOUT ?= --temperature 0.5
BETA ?= 0.03
MAX_NEW_TOKENS ?= 100

# The test's characters are at most 0.91 near (cosine of mean speaker embeddings) to any of training.
VOICES = arl data --amazon-queen --by speaker --max-s 10 --shuffle --seed 5 -o $(1) \
  --split test=jim+naomi+oracle+zombie+klunk,dev=chief+ian+henry+witch,train=rest
# Two parts of the training speakers' speech, without a common text: the start's, and that of reinforcement learning.
PARTS = arl data --shards $(1)/voices/train --split rl=0.3,sft=0.7 --shuffle --seed 5 -o $(1)/parts

include examples/asr/config.mk
include examples/asr/voices-start.mk

define MAKE_DATA
$(call VOICES,$(DATA)/voices)
$(Q)$(call PARTS,$(DATA))
$(Q)arl data --shards $(DATA)/parts/rl --speed 0.9,1,1.1 --shuffle --seed 7 --batch 96 -o $(DATA)/rl
endef
