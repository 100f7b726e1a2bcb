# arl: set-up, checks, and the on-policy loop. `make help` lists the targets.
#
# The loop is a chain of stamps, RUN/step-NNNNNN/{reward,update,sync,loop}.done: interrupted anywhere and
# started again it goes on where it was. Each stage is the same `arl` command that a person would type.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:# one shell per recipe: a step has a dozen lines
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV ?= .venv
CONFIG ?= examples/asr/config.mk
RUN ?= runs/demo
DATA ?= $(RUN)/data
EMB ?= $(RUN)/emb
include $(CONFIG)
TRAIN ?= $(DATA)/train
TEST ?= $(DATA)/test
TEST_SETS ?= --shards $(EMB)/test
# $(1) folder of the policy, $(2) of the evaluation, $(3) of one to compare with
EVALUATE ?= arl eval $(TEST_SETS) --policy $(1) $(if $(3),--compare $(3)) --max-new-tokens $(MAX_NEW_TOKENS) -o $(2)
KEEP ?=# set: the engine and the resident stages go on when a loop is done

export PATH := $(abspath $(VENV))/bin:$(PATH)
ENGINE ?= $(RUN)/engine
export ARL_ENGINE := $(ENGINE)
WARM ?= rollout reward update sync report
WARM_IN ?= $(RUN)/warm
export ARL_WARM := $(if $(WARM),$(WARM_IN))# set to nothing: cold
Q := $(if $(V),,@)# make V=1 shows the commands
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## list the targets
	@echo "make TARGET [RUN=$(RUN)] [CONFIG=$(CONFIG)] [STEPS=$(STEPS)] [any variable of CONFIG]"
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

# ---- set-up -------------------------------------------------------------------------------------------------

SETUP := $(VENV)/arl.done

.PHONY: setup
setup: $(SETUP) ## make .venv from requirements.lock (GPU=1: with SGLang's GPU packages, unlocked)

$(SETUP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
ifdef GPU
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -e '.[demo,test]'
else
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --require-hashes -r requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation -e .
endif
	touch $@

.PHONY: lock
lock: ## resolve requirements.lock anew (versions and hashes, no index)
	$(VENV)/bin/uv pip compile --quiet pyproject.toml --extra demo --extra test --python-version 3.11 \
	  --overrides .ci/cpu-overrides.txt --generate-hashes --no-emit-index-url --no-header --upgrade -o requirements.lock

# ---- checks -------------------------------------------------------------------------------------------------

.PHONY: lint test
lint: $(SETUP) ## ruff and mypy
	ruff check arl stages tests benchmarks examples
	ruff format --check arl stages tests benchmarks examples
	mypy

test: lint ## lint, then every test, the real engine's included (under 15 minutes on 2 cores)
	pytest

# ---- the loop -----------------------------------------------------------------------------------------------

$(DATA)/data.done: | $(SETUP)
	$(Q)$(MAKE_DATA)
	$(Q)touch $@

$(RUN)/policy/arl.json: | $(SETUP)
	$(Q)arl init --from $(START) -o $(RUN)/policy

$(RUN)/encode.done: $(DATA)/data.done $(RUN)/policy/arl.json
	$(Q)arl encode --shards $(TRAIN) --policy $(RUN)/policy -o $(EMB)/train
	$(Q)arl encode --shards $(TEST) --policy $(RUN)/policy -o $(EMB)/test
	$(Q)touch $@

# The engine runs, with the newest policy of the loop, and so do the resident stages (WARM= for none): checked once
# per `make`, before the first step to do.
.PHONY: engine
engine: $(RUN)/encode.done
	$(Q)$(if $(WARM),arl warm start $(WARM) &) \
	last=$$(cd $(RUN) && ls -d step-*/sync.done 2>/dev/null | tail -n 1 || true); \
	arl sync --policy $(RUN)/$${last%sync.done}policy; wait

$(RUN)/eval/000000/summary.json: | engine
	$(Q)$(call EVALUATE,$(RUN)/policy,$(@D))

pad = $(shell printf '%06d' $(1))
minus1 = $(shell echo $$(($(1) - 1)))
# Dynamic sampling: a step takes up to DYNAMIC shards, until SPREAD groups have spread, and trains on those alone.
DYNAMIC ?= 1
SPREAD ?= 32
SPREAD_OF := python -c 'import sys; from arl.runtime.stage import read_record; \
  print(sum(line["groups"] - line["zero_spread"] for line in read_record(sys.argv[1])))'
divides = $(filter 0,$(shell echo $$(($(2) % $(1)))))

# READS_TEXTS: the loss wants the texts themselves, beside the rewards.
# Rewards of tokens and texts are computed while the engine still works; those that listen (DECODE=1) after `arl decode`.
SCORED_AS_THEY_COME = --tee | arl reward --shards - --shards "$$$$audio" $(REWARD) -o $(S)/reward
define SCORED_AS_SPOKEN
$(Q)  arl decode --shards "$$$$shard" --shards $(S)/rollout/$$$$name --policy $(P)/policy --seed $(SEED) $(DECODING) -o $(S)/wav
	$(Q)  arl reward --shards $(S)/rollout/$$$$name --shards $(S)/wav/$$$$name --shards "$$$$audio" $(REWARD) -o $(S)/reward
endef

# $(1) step number; S its folder, P the folder of the policy it starts from, N that policy's stamp.
# S/shards: the names of the step's shards, a line each; S/next: where the next step begins among all shards.
define step
$(eval S := $(RUN)/step-$(call pad,$(1)))
$(eval P := $(if $(filter 1,$(1)),$(RUN),$(RUN)/step-$(call pad,$(call minus1,$(1)))))
$(eval N := $(if $(filter 1,$(1)),$(RUN)/eval/000000/summary.json,$(P)/loop.done))

# The rewards are computed while the engine still works on the rest of the groups. A shard that is done is skipped.
$(S)/reward.done: $(N) | engine
	$(Q)mkdir -p $(S); : > $(S)/shards
	$(Q)export ARL_QUIET=1
	$(Q)shards=($(EMB)/train/*.tar) first=$(call minus1,$(1)) used=0
	$(Q)[[ ! -f $(P)/next ]] || first=$$$$(< $(P)/next)
	$(Q)while :; do
	$(Q)  shard=$$$${shards[(first + used++) % $$$${#shards[@]}]} name=$$$${shard##*/}
	$(Q)  audio=$(TRAIN)/$$$$name; [[ -f $$$$audio ]] || audio=$$$$shard # its record leads to the references too
	$(Q)  echo $$$${name%.tar} >> $(S)/shards
	$(Q)  arl rollout --shards "$$$$shard" --policy $(P)/policy --group $(GROUP) --seed $$$$(($(SEED) * 1000000 + $(1))) \
	  --max-new-tokens $(MAX_NEW_TOKENS) -o $(S)/rollout $(ROLLOUT) $(if $(DECODE),,$(SCORED_AS_THEY_COME))
	$(if $(DECODE),$(SCORED_AS_SPOKEN))
	$(Q)  (( used < $(DYNAMIC) && used < $$$${#shards[@]} )) && (( $$$$($(SPREAD_OF) $(S)/reward) < $(SPREAD) )) || break
	$(Q)done
	$(Q)echo $$$$((first + used)) > $(S)/next
	$(Q): > $$@

$(S)/update.done: $(S)/reward.done
	$(Q)names=$$$$(< $(S)/shards); [[ $$$$names != *$$$$'\n'* ]] || names={$$$${names//$$$$'\n'/,}}
	$(Q)ARL_QUIET=1 arl update --shards "$(EMB)/train/$$$$names.tar" --shards $(S)/rollout --shards $(S)/reward \
	  $(if $(READS_TEXTS),--shards "$(TRAIN)/$$$$names.tar") \
	  --policy $(P)/policy --reference $(RUN)/policy --seed $(SEED) $(UPDATE) \
	  $(if $(filter-out 1,$(DYNAMIC)),--gather $(SPREAD)) -o $(S)/policy
	$(Q)mkdir -p $(S)/update && cp $(S)/policy/stage.jsonl $(S)/update/
	$(Q): > $$@

$(S)/sync.done: $(S)/update.done
	$(Q)ARL_QUIET=1 arl sync --policy $(S)/policy -o $(S)/sync
	$(Q): > $$@

$(S)/loop.done: $(S)/sync.done
	$(Q)arl report --run $(RUN) --step $(1)
	$(Q)$(if $(call divides,$(EVAL_EVERY),$(1)),$(call EVALUATE,$(S)/policy,$(RUN)/eval/$(call pad,$(1)),$(RUN)/eval/000000))
	$(Q)$(if $(filter 1,$(1)),,rm -rf $(P)/policy)
	$(Q): > $$@
endef
STEP_NUMBERS := $(shell seq 1 $(STEPS))
$(foreach k,$(STEP_NUMBERS),$(eval $(call step,$(k))))
LAST := $(RUN)/step-$(call pad,$(STEPS))

# The last step may have been evaluated as one of every EVAL_EVERY.
TAKE_LAST = rm -rf $(@D) $(@D).part; cp -r $(RUN)/eval/$(call pad,$(STEPS)) $(@D).part; mv $(@D).part $(@D)

$(RUN)/eval/final/summary.json: $(LAST)/loop.done | engine
	$(Q)$(if $(call divides,$(EVAL_EVERY),$(STEPS)),$(TAKE_LAST),$(call EVALUATE,$(LAST)/policy,$(@D),$(RUN)/eval/000000))

STOP = $(if $(KEEP),,arl engine stop $(if $(WARM),&& arl warm stop))

.PHONY: loop
loop: $(RUN)/eval/final/summary.json ## STEPS on-policy GRPO steps in RUN, resumable; ends with the held-out WER
	$(Q)$(STOP)

.PHONY: control
control: $(RUN)/eval/000000/summary.json ## the same number of supervised steps on the same clips instead, in RUN/control
	arl update --loss sft --shards $(EMB)/train --shards $(TRAIN) --policy $(RUN)/policy --epochs $(STEPS) \
	  --max-steps $(STEPS) $(CONTROL) --seed $(SEED) -o $(RUN)/control
	arl sync --policy $(RUN)/control
	$(call EVALUATE,$(RUN)/control,$(RUN)/eval/control,$(RUN)/eval/000000)
	$(STOP)

.PHONY: demo
demo: ## from nothing to the held-out WER before and after reinforcement learning
	$(MAKE) --no-print-directory setup
	$(MAKE) --no-print-directory loop

# ---- Table 1 ------------------------------------------------------------------------------------------------

include examples/asr/table1.mk

# ---- Synthesis ------------------------------------------------------------------------------------------------------

.PHONY: demo-tts
demo-tts: ## from nothing to the judge's WER before and after RL of synthesis, with samples to listen to (TTS_RUN=runs/demo-tts)
	$(MAKE) --no-print-directory setup
	$(MAKE) --no-print-directory loop CONFIG=examples/tts/config.mk RUN=$(TTS_RUN)
	@echo "before and after: $(TTS_RUN)/eval/000000/samples and $(TTS_RUN)/eval/final/samples"

TTS_RUN ?= runs/demo-tts

include examples/tts/start.mk
include examples/tts/table2.mk

# ---- benchmarks ---------------------------------------------------------------------------------------------

TRL := .bench/trl/arl.done

$(TRL): benchmarks/trl-requirements.txt | $(SETUP)
	mkdir -p .bench && echo '*' > .bench/.gitignore
	rm -rf .bench/trl
	$(VENV)/bin/uv venv --quiet --python $(VENV)/bin/python .bench/trl
	$(VENV)/bin/uv pip install --quiet --no-deps --python .bench/trl/bin/python -r $<
	touch $@

.PHONY: bench bench-gpu
bench: $(SETUP) $(TRL) ## measure against TRL and per-row updates, write benchmarks/RESULTS.md (QUICK=1: a look; ONLY=a,d)
	python -m benchmarks.run $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(THREADS),--threads $(THREADS))

bench-gpu: | $(SETUP) ## the stages at real size on one CUDA GPU, with random weights; nothing from the network
	python -m benchmarks.gpu

# ---- the shipped starting policy ----------------------------------------------------------------------------

W ?= runs/start
START_TEXTS ?= 14000,3500,1500
START_STEPS ?= 1400 250 24# of the three phases
SFT := --loss sft --train-projector --ctc 0.5 --weight-decay 0.05 --autocast bfloat16 --tokens 4096 --save-every 100

.PHONY: start
start: $(SETUP) ## rebuild examples/asr/start from packages: synthetic speech, then 3 minutes of human (over half an hour)
	$(call HUMAN,$(W)/human)
	arl data --synthetic $(START_TEXTS) --max-s 10 --shuffle --against $(W)/human/test --against $(W)/human/train \
	  --against $(W)/human/sft -o $(W)/synthetic
	arl init --from whisper-tiny.en --llm new:256x4 -o $(W)/new
	arl encode --features --shards $(W)/synthetic --policy $(W)/new -o $(W)/features/synthetic
	arl encode --features --shards $(W)/human/sft --policy $(W)/new -o $(W)/features/human
	arl update $(SFT) --shards $(W)/features/synthetic --shards $(W)/synthetic --policy $(W)/new \
	  --epochs 4 --lr 1e-3 --warmup 150 --schedule cosine --total-steps 2364 --max-steps $(word 1,$(START_STEPS)) -o $(W)/phase1
	mkdir -p $(W)/mix/features $(W)/mix/audio
	synthetic=($(W)/synthetic/*.tar); human=($(W)/human/sft/*.tar); \
	for ((k = 0; k < $(word 2,$(START_STEPS)); k++)); do \
	  if ((k % 6 == 3)); then kind=human; audio=$${human[k / 6 % $${#human[@]}]}; \
	  else kind=synthetic; audio=$${synthetic[k % $${#synthetic[@]}]}; fi; \
	  ln -sfr $$audio $(W)/mix/audio/$$(printf '%06d' $$k).tar; \
	  ln -sfr $(W)/features/$$kind/$$(basename $$audio) $(W)/mix/features/$$(printf '%06d' $$k).tar; \
	done
	arl update $(SFT) --shards $(W)/mix/features --shards $(W)/mix/audio --policy $(W)/phase1 --fresh-optimizer \
	  --lr 4e-4 --warmup 20 --max-steps $(word 2,$(START_STEPS)) -o $(W)/phase2
	arl update $(SFT) --shards $(W)/mix/features --shards $(W)/mix/audio --policy $(W)/phase2 \
	  --lr 1.5e-4 --max-steps $(word 3,$(START_STEPS)) -o $(W)/phase3
	arl export --policy $(W)/phase3 --slim --dtype float16 -o $(START)

.PHONY: clean
clean: ## remove RUN (its engine and resident stages are stopped first)
	arl engine stop || true
	$(if $(WARM),arl warm stop || true)
	rm -rf $(RUN)
