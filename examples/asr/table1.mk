# The paper's Table 1 on the embedded default: five rows and two controls from the demo's starting policy, each with several
# seeds, on characters that were in no training. Included by the top Makefile; examples/asr/RESULTS.md has the result.
#
#     make table1                                  # everything, resumable: each run is `make loop`, each step a stamp
#     make table1 QUICK=1 T1=runs/table1-quick     # the same at a toy size, minutes: does it run?
#     make table1 ON=dev ARMS=Rall-Dall SEEDS=0    # on the development set, for choosing settings

T1 ?= runs/table1
ON ?= test# or dev
SEEDS ?= 0 1 2
ARMS ?= R1-D0 R12-D0 R12-D02 R12-D12 Rall-Dall MWER-Dall SFT-Dall
T1_STEPS ?= 12
T1_BATCH ?= 48
T1_GROUP ?= 6
T1_LONG ?= 20-24# seconds
T1_SIZES ?= D0=192,D1=160,D2=80,D3=96
T1_DISAGREE ?= 0.4# of the start with Whisper
T1_SETS := short long keyword# tests
T1_TOKENS ?= 260# longest hypothesis
ifdef QUICK
SEEDS := 0
ARMS := R1-D0 Rall-Dall MWER-Dall SFT-Dall
T1_STEPS := 2
T1_BATCH := 4
T1_GROUP := 4
T1_SIZES := D0=16,D1=16,D2=4,D3=8
ON := dev
T1_TOKENS := 100
endif

# REWARD_R1 and REWARD_R12 are config.mk's; R_all has its keywords at half the weight there. MWER is its paper's loss, with 0.01
# times the cross-entropy of the transcript.
REWARD_Rall := --with wer --with keyword=0.5 --gate hallucination=-1
REWARD_MWER = $(REWARD_R1)
T1_LOSS = $(if $(filter MWER,$(T1_REWARD)),LOSS="mwer --ce 0.01" READS_TEXTS=1,LOSS=dapo)

# ---- speech: the pool is what the demo trains on, the tests are the demo's --------------------------------------------

$(T1)/voices/splits.json: | $(SETUP)
	$(Q)$(call VOICES,$(T1)/voices)

$(T1)/parts/splits.json: $(T1)/voices/splits.json
	$(Q)$(call PARTS,$(T1))

# Long: neighbours joined, of one speaker each. Keyword: utterances with a word that no other has.
$(T1)/$(ON)/data.done: $(T1)/parts/splits.json
	$(Q)mkdir -p $(@D); ln -sfnr $(T1)/voices/$(ON) $(@D)/short
	$(Q)arl data --shards $(@D)/short --concatenate $(T1_LONG) --batch 8 -o $(@D)/long
	$(Q)arl mine --shards $(@D)/short --sets D3 $(foreach part,rl sft,--against $(T1)/parts/$(part)) -o $(@D)/mined
	$(Q)ln -sfnr $(@D)/mined/D3 $(@D)/keyword
	$(Q)touch $@ $(T1)/data.done

# ---- what two systems make of the pool, and the training sets ---------------------------------------------------------

$(T1)/policy/arl.json: | $(SETUP)
	$(Q)arl init --from $(START) -o $(T1)/policy

T1_KEEP = ENGINE=$(T1)/engine WARM_IN=$(T1)/warm KEEP=1
T1_ARL = ARL_ENGINE=$(T1)/engine ARL_WARM= arl

$(T1)/heard/whisper.tsv: | $(T1)/parts/splits.json
	$(Q)mkdir -p $(@D); python -m examples.asr.whisper_texts $(T1)/parts/rl -o $@

$(T1)/heard.done: $(T1)/heard/whisper.tsv $(T1)/policy/arl.json
	$(Q)arl encode --shards $(T1)/parts/rl --policy $(T1)/policy -o $(T1)/emb/pool
	$(Q)$(T1_ARL) sync --policy $(T1)/policy
	$(Q)$(T1_ARL) rollout --shards $(T1)/emb/pool --policy $(T1)/policy --group 1 --temperature 0 \
	  --max-new-tokens $(T1_TOKENS) -o $(T1)/heard/start
	$(Q)touch $@

$(T1)/sets/mine.json: $(T1)/heard.done
	$(Q)arl mine --shards $(T1)/parts/rl --system start=$(T1)/heard/start --system whisper=$(T1)/heard/whisper.tsv \
	  --sets D0,D0+D2,D1+D2,D1+D2+D3 --size $(T1_SIZES) --batch $(T1_BATCH) --disagree $(T1_DISAGREE) \
	  --longer-s $(firstword $(subst -, ,$(T1_LONG))) --join-up-to-s $(lastword $(subst -, ,$(T1_LONG))) \
	  $(foreach set,test dev,--against $(T1)/voices/$(set)) -o $(T1)/sets

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
	$(SUBMAKE) $(T1_KIND) RUN=$(T1_RUNS)/$* SEED=$(T1_SEED) $(T1_KEEP) \
	  DATA=$(T1) EMB=$(T1)/emb/train/$(T1_DATA) TRAIN=$(T1)/sets/$(T1_OF_$(T1_DATA)) TEST_SETS="$(T1_EVAL)" EVAL_EVERY=1000 \
	  STEPS=$(T1_STEPS) GROUP=$(T1_GROUP) MAX_NEW_TOKENS=$(T1_TOKENS) $(T1_LOSS) REWARD="$(REWARD_$(T1_REWARD))"
	ln -sfn eval/$(if $(filter SFT,$(T1_REWARD)),control,final) $$run/final

.PHONY: table1
table1: $(T1_DONE) ## the paper's Table 1 (QUICK=1: at a toy size; SEEDS="0 1 2"; resumable)
	$(Q)$(T1_ARL) engine stop
	$(Q)ARL_WARM=$(T1)/warm arl warm stop || true
	$(Q)python examples/asr/table1.py $(T1_RUNS) -o $(T1_OUT) --plot $(dir $(T1_OUT))table1.png
