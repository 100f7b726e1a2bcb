# One step of the loop, as four stamps in RUN/step-NNNNNN: {reward,update,sync,loop}.done. Interrupted anywhere and started
# again it continues after its last stamp; a stage that was killed skips the shards it has done.
#
#     make loop STEPS=40                         # the Makefile runs this file for one step after another
#     make -f examples/loop.mk STEP=3 -n         # what step 3 does
#
# A stamp counts by being there, not by its time: a run folder that was copied without times goes on where it was.
#
# It takes the variables of `make loop`. The engine must run, and what comes before the step must be done.

include examples/settings.mk
$(if $(STEP),,$(error STEP is missing: make -f examples/loop.mk STEP=3, or `make loop`))

S := $(RUN)/step-$(call pad,$(STEP))
# P holds the policy that the step starts from; BEGIN is the stamp of it.
ifeq ($(STEP),1)
P := $(RUN)
BEGIN := $(RUN)/eval/000000/summary.json
else
P := $(RUN)/step-$(call pad,$(STEP) - 1)
BEGIN := $(P)/loop.done
endif

.DEFAULT_GOAL := $(S)/loop.done

# Dynamic sampling: a step takes up to DYNAMIC shards, until SPREAD groups have non-zero reward variance, and trains on
# those groups alone.
DYNAMIC ?= 1
SPREAD ?= 32

# The policies of the last POLICIES steps are kept, and the first of all: `arl average` takes them.
POLICIES ?= 1

GENERATE = arl rollout --shards "$$shard" --policy $(P)/policy --group $(GROUP) \
	    --seed $$(($(SEED) * 1000000 + $(STEP))) --max-new-tokens $(MAX_NEW_TOKENS) -o $(S)/rollout $(ROLLOUT)

# S/shards has the names of the step's shards, a line each; S/next says where the next step begins among all shards.
# Rewards of tokens and texts are computed while the engine still works, those that listen (DECODE=1) after `arl decode`.
$(S)/reward.done: | $(BEGIN)
	$(Q)export ARL_QUIET=1
	mkdir -p $(S); : > $(S)/shards
	while :; do
	  name=$$(examples/loop.sh next-shard $(S) $(P) $(EMB)/train $(DYNAMIC) $(SPREAD)); [[ $$name ]] || break
	  shard=$(EMB)/train/$$name.tar audio=$(TRAIN)/$$name.tar
	  [[ -f $$audio ]] || audio=$$shard # its record leads to the references too
ifdef DECODE
	  $(GENERATE)
	  arl decode --shards "$$shard" --shards $(S)/rollout/$$name.tar --policy $(P)/policy --seed $(SEED) $(DECODING) -o $(S)/wav
	  arl reward --shards $(S)/rollout/$$name.tar --shards $(S)/wav/$$name.tar --shards "$$audio" $(REWARD) -o $(S)/reward
else
	  $(GENERATE) --tee | arl reward --shards - --shards "$$audio" $(REWARD) -o $(S)/reward
endif
	done
	: > $@

# READS_TEXTS: the loss needs the texts themselves, beside the rewards. LORA: the rank of the adapter to train, in place
# of the weights.
$(S)/update.done: | $(S)/reward.done
	$(Q)names=$$(paste -sd, $(S)/shards); [[ $$names != *,* ]] || names="{$$names}"
	ARL_QUIET=1 $(LAUNCH)arl update --shards "$(EMB)/train/$$names.tar" --shards $(S)/rollout --shards $(S)/reward \
	  $(if $(READS_TEXTS),--shards "$(TRAIN)/$$names.tar") \
	  --policy $(P)/policy --reference $(RUN)/policy --seed $(SEED) $(if $(LORA),--lora-rank $(LORA)) $(UPDATE) \
	  $(if $(filter-out 1,$(DYNAMIC)),--gather $(SPREAD)) -o $(S)/policy
	mkdir -p $(S)/update
	cp $(S)/policy/stage.jsonl $(S)/update/
	: > $@

$(S)/sync.done: | $(S)/update.done
	$(Q)ARL_QUIET=1 arl sync --policy $(S)/policy -o $(S)/sync
	: > $@

# The policy that the step started from is removed, but for the first of all, or with POLICIES an earlier one.
$(S)/loop.done: | $(S)/sync.done
	$(Q)arl report --run $(RUN) --step $(STEP)
	$(if $(call divides,$(EVAL_EVERY),$(STEP)),$(call EVALUATE,$(S)/policy,$(RUN)/eval/$(call pad,$(STEP)),$(RUN)/eval/000000))
	$(if $(TRACK),arl report --run $(RUN) --step $(STEP) --track $(TRACK) || true)
	$(if $(shell (($(STEP) > $(POLICIES))) && echo old),rm -rf $(RUN)/step-$(call pad,$(STEP) - $(POLICIES))/policy)
	: > $@
