# The paper's Table 1 on the embedded default: five rows and two controls from one starting policy, each with several
# seeds, on short and long held-out human speech. Included by the top Makefile; examples/asr/RESULTS.md has the result.
#
#     make table1                                  # everything, resumable: each run is `make loop`, each step a stamp
#     make table1 QUICK=1 T1=runs/table1-quick     # the same at a toy size, minutes: does it run?
#     make table1 ON=dev ARMS=Rall-Dall SEEDS=0    # on the development set, for choosing settings

T1 ?= runs/table1
ON ?= test# or dev
SEEDS ?= 0 1 2
ARMS ?= R1-D0 R12-D0 R12-D02 R12-D12 Rall-Dall MWER-Dall SFT-Dall
T1_START ?= examples/asr/table1-start
T1_STEPS ?= 16
T1_BATCH ?= 32
T1_GROUP ?= 8
T1_LR ?= 2e-4
T1_TEMPERATURE ?= 0.6# the gate fires on a quarter of the long samples then
T1_SYNTHETIC ?= 750,200,0
T1_MADE ?= 900,300,0# synthetic, too: what the long test clips have beside the human ones
T1_LONG ?= 20-24# seconds
T1_SIZES ?= D0=192,D1=160,D2=48,D3=96
T1_SETS := short long long-human keyword# tests
T1_TOKENS ?= 420# longest hypothesis: 1.3 times the characters of the longest long clip
ifdef QUICK
SEEDS := 0
ARMS := R1-D0 Rall-Dall MWER-Dall SFT-Dall
T1_STEPS := 2
T1_BATCH := 4
T1_GROUP := 4
T1_SYNTHETIC := 60,20,0
T1_MADE := 60,20,0
T1_SIZES := D0=16,D1=16,D2=4,D3=8
ON := dev
T1_TOKENS := 100
endif

# REWARD_R1 and REWARD_R12 are config.mk's; R_all has its keywords at half the weight there.
REWARD_Rall := --with wer --with keyword=0.5 --gate hallucination=-1
REWARD_MWER = $(REWARD_R1)

# ---- speech: a pool to choose from, and test and development sets that share no text and no clip with it -----------

T1_HUMAN = arl data --asterisk --split test=0.45,sft=0.15,dev=0.15,train=0.25 --shuffle --seed 7 --max-s 10 -o $(1)
T1_TAUGHT := $(T1)/human/train $(T1)/human/sft
T1_HELD := $(foreach part,test dev,--against $(T1)/human/$(part))

$(T1)/human/data.json: | $(SETUP)
	$(Q)$(call T1_HUMAN,$(T1)/human)

$(T1)/synthetic/data.json: $(T1)/human/data.json
	$(Q)arl data --synthetic $(T1_SYNTHETIC) --seed 2 --min-s 2.2 --max-s 9 --shuffle $(T1_HELD) \
	  $(T1_TAUGHT:%=--against %) -o $(T1)/synthetic

$(T1)/pool/data.json: $(T1)/synthetic/data.json
	$(Q)arl data $(T1_TAUGHT:%=--shards %) --shards $(T1)/synthetic --shuffle --seed 3 -o $(T1)/pool

$(T1)/made/data.json: | $(T1)/pool/data.json
	$(Q)arl data --synthetic $(T1_MADE) --split test=0.6,dev=0.4 --seed 4 --min-s 2.2 --max-s 9 --shuffle $(T1_HELD) \
	  --against $(T1)/pool -o $(T1)/made

# Long: neighbours joined, of one voice each. Keyword: utterances with a rare word.
$(T1)/$(ON)/data.done: $(T1)/human/data.json $(T1)/made/data.json
	$(Q)mkdir -p $(@D); ln -sfnr $(T1)/human/$(ON) $(@D)/short
	$(Q)for voice in human made; do \
	  arl data --shards $(T1)/$$voice/$(ON) --concatenate $(T1_LONG) --batch 8 -o $(@D)/long-$$voice; done
	$(Q)arl data --shards $(@D)/long-human --shards $(@D)/long-made --batch 8 -o $(@D)/long
	$(Q)arl mine --shards $(@D)/short --sets D3 $(T1_TAUGHT:%=--against %) -o $(@D)/mined
	$(Q)ln -sfnr $(@D)/mined/D3 $(@D)/keyword
	$(Q)touch $@ $(T1)/data.done

# ---- the starting policy, what it makes of the pool, and the training sets ------------------------------------------

$(T1)/policy/arl.json: | $(SETUP)
	$(Q)arl init --from $(T1_START) -o $(T1)/policy

T1_KEEP = ENGINE=$(T1)/engine WARM_IN=$(T1)/warm KEEP=1
T1_ARL = ARL_ENGINE=$(T1)/engine ARL_WARM= arl

$(T1)/heard.done: $(T1)/pool/data.json $(T1)/policy/arl.json
	$(Q)arl encode --shards $(T1)/pool --policy $(T1)/policy -o $(T1)/emb/pool
	$(Q)$(T1_ARL) sync --policy $(T1)/policy
	$(Q)$(T1_ARL) rollout --shards $(T1)/emb/pool --policy $(T1)/policy --group 1 --temperature 0 \
	  --max-new-tokens $(T1_TOKENS) -o $(T1)/heard/greedy
	$(Q)$(T1_ARL) rollout --shards $(T1)/emb/pool --policy $(T1)/policy --group 1 --seed 1 \
	  --max-new-tokens $(T1_TOKENS) -o $(T1)/heard/sampled
	$(Q)touch $@

$(T1)/sets/mine.json: $(T1)/heard.done
	$(Q)arl mine --shards $(T1)/pool --system greedy=$(T1)/heard/greedy --system sampled=$(T1)/heard/sampled \
	  --sets D0,D0+D2,D1+D2,D1+D2+D3 --size $(T1_SIZES) --batch $(T1_BATCH) --disagree 0.4 $(T1_HELD) \
	  --longer-s $(firstword $(subst -, ,$(T1_LONG))) --join-up-to-s $(lastword $(subst -, ,$(T1_LONG))) -o $(T1)/sets

T1_OF_D0 := D0
T1_OF_D02 := D0+D2
T1_OF_D12 := D1+D2
T1_OF_Dall := D1+D2+D3

$(T1)/emb/train/%/encode.done: $(T1)/sets/mine.json
	$(Q)arl encode --shards $(T1)/sets/$(T1_OF_$*) --policy $(T1)/policy -o $(@D)/train
	$(Q)touch $@

$(T1)/emb/$(ON)/encode.done: $(T1)/$(ON)/data.done $(T1)/policy/arl.json
	$(Q)for set in $(T1_SETS); do \
	  arl encode --shards $(T1)/$(ON)/$$set --policy $(T1)/policy -o $(@D)/$$set; done
	$(Q)touch $@

# ---- the runs -----------------------------------------------------------------------------------------------------

T1_RUNS := $(T1)/runs-$(ON)
T1_OUT ?= $(if $(QUICK)$(filter dev,$(ON)),$(T1_RUNS)/TABLE1.md,examples/asr/RESULTS.md)
T1_EVAL = $(foreach set,$(T1_SETS),--set $(set)=$(T1)/emb/$(ON)/$(set))

$(T1_RUNS)/base/summary.json: $(T1)/emb/$(ON)/encode.done $(T1)/heard.done
	$(Q)$(T1_ARL) sync --policy $(T1)/policy
	$(Q)$(T1_ARL) eval $(T1_EVAL) --policy $(T1)/policy --max-new-tokens $(T1_TOKENS) -o $(@D)

# The stem of a run is ARM/SEED, and an arm is REWARD-DATA.
T1_DONE := $(foreach seed,$(SEEDS),$(ARMS:%=$(T1_RUNS)/%/$(seed)/final/summary.json))
T1_SEED = $(notdir $*)
T1_REWARD = $(firstword $(subst -, ,$*))
T1_DATA = $(lastword $(subst -, ,$(patsubst %/,%,$(dir $*))))
T1_KIND = $(if $(filter SFT,$(T1_REWARD)),control,loop)

.SECONDEXPANSION:
$(T1_DONE): $(T1_RUNS)/%/final/summary.json: $(T1_RUNS)/base/summary.json $(T1)/emb/train/$$(T1_DATA)/encode.done
	$(Q)run=$(T1_RUNS)/$*
	mkdir -p $$run/eval
	ln -sfnr $(T1)/policy $$run/policy
	ln -sfnr $(T1_RUNS)/base $$run/eval/000000
	[ -e $$run/encode.done ] || { echo $$(($(T1_SEED) * 7)) > $$run/next; touch $$run/encode.done; }
	$(SUBMAKE) $(T1_KIND) CONFIG=examples/asr/prompts.mk RUN=$(T1_RUNS)/$* SEED=$(T1_SEED) $(T1_KEEP) \
	  DATA=$(T1) EMB=$(T1)/emb/train/$(T1_DATA) TRAIN=$(T1)/sets/$(T1_OF_$(T1_DATA)) TEST_SETS="$(T1_EVAL)" EVAL_EVERY=1000 \
	  STEPS=$(T1_STEPS) GROUP=$(T1_GROUP) MAX_NEW_TOKENS=$(T1_TOKENS) LR=$(T1_LR) \
	  LOSS=$(if $(filter MWER,$(T1_REWARD)),mwer,dapo) REWARD="$(REWARD_$(T1_REWARD))" \
	  ROLLOUT="--temperature $(T1_TEMPERATURE)"
	ln -sfn eval/$(if $(filter SFT,$(T1_REWARD)),control,final) $$run/final

.PHONY: table1
table1: $(T1_DONE) ## the paper's Table 1 (QUICK=1: at a toy size; SEEDS="0 1 2"; resumable)
	$(Q)$(T1_ARL) engine stop
	$(Q)ARL_WARM=$(T1)/warm arl warm stop || true
	$(Q)python examples/asr/table1.py $(T1_RUNS) -o $(T1_OUT) --plot $(dir $(T1_OUT))table1.png

# ---- the starting policy ------------------------------------------------------------------------------------------

# The start of prompts.mk, taught long clips, and then spoilt: synthetic clips first, then also those of its 81 human clips, in
# eight orders; last, transcripts of long clips of which six in ten loop at their end, as pseudo-labels of long audio do
# (looped.py). So it reads clips of 20 s, and goes on behind their end. The projector stays as it is. The one that is
# shipped was made by these commands one by one, on the same texts and clips, in another order.
S1 ?= $(T1)/start
S1_STEPS ?= 120 60 144 380 60# of the five phases
S1_SFT := --loss sft --weight-decay 0.05 --tokens 4096 --save-every 20
S1_KINDS := short long human joined

# $(1) phase, $(2) the kinds of its steps, in turn, $(3) where their transcripts are: audio or looped
define S1_MIX
	rm -rf $(S1)/mix/$(1); mkdir -p $(S1)/mix/$(1)/{text,emb}
	kinds=($(2)); declare -A used=([short]=0 [long]=0 [human]=0 [joined]=0); \
	for ((k = 0; k < $(word $(1),$(S1_STEPS)); k++)); do \
	  kind=$${kinds[k % $${#kinds[@]}]}; shards=($(S1)/audio/$$kind/*.tar); \
	  shard=$${shards[used[$$kind]++ % $${#shards[@]}]}; row=$$(printf '%06d' $$k).tar; \
	  ln -sfr $(S1)/$(3)/$$kind/$${shard##*/} $(S1)/mix/$(1)/text/$$row; \
	  ln -sfr $(S1)/emb/$$kind/$${shard##*/} $(S1)/mix/$(1)/emb/$$row; \
	done
endef
S1_STEP = arl update $(S1_SFT) --shards $(S1)/mix/$(1)/emb --shards $(S1)/mix/$(1)/text

.PHONY: table1-start
table1-start: $(T1)/human/data.json ## rebuild examples/asr/table1-start, the starting policy of Table 1 (an hour)
	arl data --synthetic 3500,900,0 --seed 1 --min-s 1.5 --max-s 9 --shuffle $(T1_HELD) --against $(T1)/human/train \
	  --against $(T1)/human/sft -o $(S1)/audio/short
	arl data --shards $(S1)/audio/short --concatenate 10-24 --batch 8 --shuffle -o $(S1)/audio/long
	ln -sfnr $(T1)/human/sft $(S1)/audio/human
	for order in {1..8}; do \
	  arl data --shards $(S1)/audio/human --shuffle --seed $$order -o $(S1)/order/$$order; \
	  arl data --shards $(S1)/order/$$order --concatenate 8-24 --seed $$order -o $(S1)/long/$$order; done
	arl data $$(printf -- '--shards $(S1)/long/%s ' {1..8}) --shuffle --batch 8 -o $(S1)/audio/joined
	arl init --from $(PROMPTS_START) -o $(S1)/policy
	for kind in $(S1_KINDS); do arl encode --shards $(S1)/audio/$$kind --policy $(S1)/policy -o $(S1)/emb/$$kind; done
	mkdir -p $(S1)/looped; for kind in short human; do ln -sfnr $(S1)/audio/$$kind $(S1)/looped/$$kind; done
	for kind in long joined; do \
	  python -m examples.asr.looped $(S1)/audio/$$kind --share 0.6 --seed 1 -o $(S1)/looped/$$kind; done
	$(call S1_MIX,1,long short long human long long,audio)
	$(call S1_STEP,1) --policy $(S1)/policy --lr 5e-4 --warmup 15 -o $(S1)/phase1
	$(call S1_MIX,2,long short long human long long,audio)
	$(call S1_STEP,2) --policy $(S1)/phase1 --lr 3e-4 -o $(S1)/phase2
	$(call S1_MIX,3,joined long human joined short long,audio)
	$(call S1_STEP,3) --policy $(S1)/phase2 --lr 3e-4 -o $(S1)/phase3
	$(call S1_MIX,4,joined long human long short long,audio)
	$(call S1_STEP,4) --policy $(S1)/phase3 --lr 3e-4 -o $(S1)/phase4
	$(call S1_MIX,5,joined long human long short long,looped)
	$(call S1_STEP,5) --policy $(S1)/phase4 --lr 3e-4 -o $(S1)/phase5
	arl export --policy $(S1)/phase5 --slim --dtype float16 -o $(T1_START)
