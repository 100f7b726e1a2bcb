# The embedded default of synthesis: a 3.7 M-parameter LM over 25 acoustic tokens a second, rewarded by a small recogniser of
# tokens. Used as CONFIG=examples/tts/config.mk; every value can be given on make's command line.
START ?= examples/tts/start
TOKEN_ASR ?= examples/tts/token-asr
STEPS ?= 40
EVAL_EVERY ?= 1000
GROUP ?= 8
MAX_NEW_TOKENS ?= 300
SEED ?= 0
LOSS ?= combined
LR ?= 1e-4
BETA ?= 0.01
LAMBDA ?= 0.3# weight of DiffRO in combined
# The paper's rewards. R1 is 1 - CER of what the small recogniser reads in the tokens; with R3's pitch, or asr --by whisper, waveforms are needed: DECODE=1.
REWARDS ?= R12
REWARD_R1 = --with 'asr --by tokens --model $(TOKEN_ASR) --first 33 --unit char'
REWARD_R12 = $(REWARD_R1) --with duration
REWARD_R123 = $(REWARD_R12) --with 'diversity --part tokens --mean others'
REWARD ?= $(REWARD_$(REWARDS))
UPDATE ?= --loss $(LOSS) --lr $(LR) --warmup 3 --schedule cosine --total-steps $(STEPS) --beta $(BETA) \
  $(if $(READS_TEXTS),--token-asr $(TOKEN_ASR)) $(if $(filter combined,$(LOSS)),--diffro-weight $(LAMBDA)) \
  $(if $(NO_FILTER),--no-filter)
READS_TEXTS = $(filter diffro combined,$(LOSS))
WARM ?= encode rollout decode reward update sync report

# Telephone prompts that nothing was trained on. A step says one shard of them.
TEXTS ?= 768
EVAL_TEXTS ?= 160
BATCH ?= 32
TEST ?= $(DATA)/test
define MAKE_DATA
mkdir -p $(DATA); \
for set in train:$(TEXTS) test:$(EVAL_TEXTS); do \
  head -n $${set#*:} examples/tts/texts/$${set%:*}.txt > $(DATA)/$${set%:*}.txt; \
  arl data --texts $(DATA)/$${set%:*}.txt --batch $(BATCH) -o $(DATA)/$${set%:*}; done
endef

DECODING ?= --cfg 0# guidance made this small decoder's speech harder to understand: RESULTS.md
# Speech is judged by Whisper, two samples a text at the temperature of the rollouts.
EVAL_GROUP ?= 2
EVAL_SKIP ?=# of mos, similarity, f0
EVALUATE = arl rollout --shards $(EMB)/test --policy $(1) --group $(EVAL_GROUP) --seed 1 \
  --max-new-tokens $(MAX_NEW_TOKENS) -o $(2)/rollout; \
  arl decode --shards $(EMB)/test --shards $(2)/rollout --policy $(1) $(DECODING) -o $(2)/wav; \
  arl eval --shards $(TEST) --shards $(EMB)/test --shards $(2)/rollout --shards $(2)/wav \
  $(if $(3),--compare $(3)) --voices $(1)/frontend $(if $(EVAL_SKIP),--skip $(EVAL_SKIP)) -o $(2)
