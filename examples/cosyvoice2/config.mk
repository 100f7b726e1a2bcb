# CosyVoice2-0.5B in the paper's setting: batch 16, 8 hypotheses at temperature 1, β 0.1, rewards R1, R2 and R3, the combined loss
# with its filter. Used as CONFIG=examples/cosyvoice2/config.mk; every value can be given on make's command line.
#
#     make loop CONFIG=examples/cosyvoice2/config.mk START=CosyVoice2-0.5B TRAIN_TEXTS=train.txt TEST_TEXTS=test.txt \
#       TOKEN_ASR=token-asr RUN=runs/cosyvoice2
#
# START is the folder as it is downloaded; INIT may name a voice: INIT="--voice ann=ann.wav:'what it says'". TOKEN_ASR is
# made of recordings and their texts, as follows; without one the loss is grpo. Not run at full size here: the learning
# rate is a guess.
#
#     arl encode --shards recordings/ --policy policy -o codes
#     arl train-token-asr --shards codes/ --shards recordings/ --codes 6561 -o token-asr
START ?= CosyVoice2-0.5B
TRAIN_TEXTS ?= texts/train.txt
TEST_TEXTS ?= texts/test.txt
TOKEN_ASR ?=
STEPS ?= 200
EVAL_EVERY ?= 50
BATCH ?= 16
GROUP ?= 8
MAX_NEW_TOKENS ?= 750# 30 s
SEED ?= 0
LOSS ?= $(if $(TOKEN_ASR),combined,grpo)
LR ?= 1e-6
BETA ?= 0.1
LAMBDA ?= 1
DECODE ?= 1
WHISPER ?= whisper
REWARD ?= --with 'asr --by $(WHISPER)' --with duration --with diversity
UPDATE ?= --loss $(LOSS) --lr $(LR) --warmup 5 --beta $(BETA) \
  $(if $(READS_TEXTS),--token-asr $(TOKEN_ASR)) $(if $(filter combined,$(LOSS)),--diffro-weight $(LAMBDA))
READS_TEXTS = $(filter diffro combined,$(LOSS))
WARM ?= encode rollout decode reward update sync report

TEST ?= $(DATA)/test
define MAKE_DATA
arl data --texts $(TRAIN_TEXTS) --batch $(BATCH) -o $(DATA)/train; \
arl data --texts $(TEST_TEXTS) --batch $(BATCH) -o $(DATA)/test
endef

DECODING ?= --cfg 0.7
EVAL_GROUP ?= 2
EVAL_VOICES ?= $(1)/frontend
EVAL_SKIP ?=# of mos, similarity, f0
EVALUATE = arl rollout --shards $(EMB)/test --policy $(1) --group $(EVAL_GROUP) --seed 1 \
  --max-new-tokens $(MAX_NEW_TOKENS) -o $(2)/rollout; \
  arl decode --shards $(EMB)/test --shards $(2)/rollout --policy $(1) $(DECODING) -o $(2)/wav; \
  arl eval --shards $(TEST) --shards $(EMB)/test --shards $(2)/rollout --shards $(2)/wav \
  $(if $(3),--compare $(3)) $(if $(EVAL_VOICES),--voices $(EVAL_VOICES)) $(if $(EVAL_SKIP),--skip $(EVAL_SKIP)) -o $(2)
