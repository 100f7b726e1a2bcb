# arl: set-up, checks, and the on-policy loop. `make help` lists the targets.
#
# The loop is a chain of stamps in RUN; interrupted anywhere and started again it goes on where it was. A step is four of
# them, RUN/step-NNNNNN/{reward,update,sync,loop}.done, made by examples/loop.mk. Each stage is the same `arl` command that a
# person would type. examples/settings.mk has the variables of a run and how recipes are run.

PYTHON ?= python3.11
include examples/settings.mk
.DEFAULT_GOAL := help

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

# All tests run file by file on as many processes as there are cores, at most four, for memory; each with one thread.
WHOLE := OMP_NUM_THREADS=1 pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PART := $(TESTS)$(K)
test: $(if $(PART),$(SETUP),lint) ## lint, then every test, the real engine's included (TESTS=tests/losses K=grpo: a part, without lint)
	$(if $(PART),pytest $(TESTS) $(if $(K),-k '$(K)'),$(WHOLE))

# ---- the loop -----------------------------------------------------------------------------------------------

$(DATA)/data.done: | $(SETUP)
	$(Q)$(MAKE_DATA)
	touch $@

$(RUN)/policy/arl.json: | $(SETUP)
	$(Q)arl init --from $(START) $(INIT) -o $(RUN)/policy

.PHONY: prepared
prepared: $(DATA)/data.done $(RUN)/policy/arl.json

$(RUN)/encode.done: $(DATA)/data.done $(RUN)/policy/arl.json
	$(Q)$(call ENCODE,$(TRAIN),$(EMB)/train)
	$(foreach set,$(TEST),$(call ENCODE,$(lastword $(subst =, ,$(set))),$(call test_emb,$(set)));)
	touch $@

# The engine runs, with the newest policy of the loop, and so do the resident stages (WARM= for none): checked once
# per `make`, before the first step to do.
.PHONY: engine
engine: $(RUN)/encode.done
	$(Q)$(if $(WARM),arl warm start $(WARM) &)
	arl sync --policy $$(examples/loop.sh newest-policy $(RUN)); wait

$(RUN)/eval/000000/summary.json: | engine
	$(Q)$(call EVALUATE,$(RUN)/policy,$(@D))

# A stamp of a step: every step up to it, one after another, each a make of examples/loop.mk.
$(RUN)/step-%.done: | $(RUN)/eval/000000/summary.json engine
	+$(Q)exec examples/loop.sh steps $(MAKE) $@

LAST := $(RUN)/step-$(call pad,$(STEPS))

# The last step may have been evaluated as one of every EVAL_EVERY.
TAKE_LAST = rm -rf $(@D) $(@D).part; cp -r $(RUN)/eval/$(call pad,$(STEPS)) $(@D).part; mv $(@D).part $(@D)

FINAL := $(RUN)/eval/final
# The summary of a run that had fewer steps is of another policy.
$(FINAL)/summary.json: $(if $(wildcard $(LAST)/loop.done),$(if $(shell examples/loop.sh other-summary $(FINAL) $(LAST)),again),again)
.PHONY: again
again:

$(FINAL)/summary.json: | $(LAST)/loop.done engine
	$(Q)$(if $(call divides,$(EVAL_EVERY),$(STEPS)),$(TAKE_LAST),$(call EVALUATE,$(LAST)/policy,$(@D),$(RUN)/eval/000000))

STOP = $(if $(KEEP),,arl engine stop$(if $(WARM),; arl warm stop))

.PHONY: loop
loop: $(RUN)/eval/final/summary.json ## STEPS on-policy GRPO steps in RUN, resumable; ends with the held-out WER and a page
	$(Q)$(if $(PAGE),ARL_QUIET=1 arl report --html $(RUN) -o "$(PAGE)" || true)
	$(STOP)
	$(if $(PAGE),[[ ! -s "$(PAGE)" ]] || echo "the page of this run: $(PAGE)")

.PHONY: control
control: $(RUN)/eval/000000/summary.json ## the same number of supervised steps on the same clips instead, in RUN/control
	$(LAUNCH)arl update --loss sft --shards $(EMB)/train --shards $(TRAIN) --policy $(RUN)/policy --epochs $(STEPS) \
	  --max-steps $(STEPS) $(CONTROL) --seed $(SEED) -o $(RUN)/control
	arl sync --policy $(RUN)/control
	$(call EVALUATE,$(RUN)/control,$(RUN)/eval/control,$(RUN)/eval/000000)
	$(STOP)

.PHONY: clean
clean: ## remove RUN (its engine and resident stages are stopped first)
	arl engine stop || true
	$(if $(WARM),arl warm stop || true)
	examples/loop.sh clean "$(RUN)"

# ---- examples -----------------------------------------------------------------------------------------------

.PHONY: demo demo-long demo-tts
demo: ## from nothing to the held-out WER before and after reinforcement learning
	$(MAKE) --no-print-directory setup
	$(MAKE) --no-print-directory --jobs 2 prepared
	$(MAKE) --no-print-directory loop

LONG_RUN ?= runs/demo-long
demo-long: ## the same with over twice the steps, on joined clips in five orders (LONG_RUN=runs/demo-long)
	$(MAKE) --no-print-directory setup
	$(MAKE) --no-print-directory --jobs 2 prepared RUN=$(LONG_RUN) ORDERS="1 2 3 4 5"
	$(MAKE) --no-print-directory loop RUN=$(LONG_RUN) STEPS=45 EVAL_EVERY=15 ORDERS="1 2 3 4 5"

TTS_RUN ?= runs/demo-tts
demo-tts: ## from nothing to the judge's WER before and after RL of synthesis, with samples to listen to (TTS_RUN=runs/demo-tts)
	$(MAKE) --no-print-directory setup
	$(MAKE) --no-print-directory --jobs 2 prepared CONFIG=examples/tts/config.mk RUN=$(TTS_RUN)
	$(MAKE) --no-print-directory loop CONFIG=examples/tts/config.mk RUN=$(TTS_RUN)
	@echo "before and after: $(TTS_RUN)/eval/000000/samples and $(TTS_RUN)/eval/final/samples"

SUBMAKE := $(MAKE) --no-print-directory# by another name: `make -n` runs a recipe that has MAKE in it

# The shipped starting policies, the demo's seeds, and the paper's Table 1, Table 2 and Figure 3.
include examples/asr/start.mk examples/asr/prompts-start.mk examples/asr/seeds.mk examples/asr/table1.mk examples/tts/start.mk examples/tts/table2.mk

# ---- benchmarks ---------------------------------------------------------------------------------------------

TRL := .bench/trl/arl.done

$(TRL): benchmarks/trl-requirements.txt | $(SETUP)
	mkdir -p .bench && echo '*' > .bench/.gitignore
	rm -rf .bench/trl
	$(VENV)/bin/uv venv --quiet --python $(VENV)/bin/python .bench/trl
	$(VENV)/bin/uv pip install --quiet --no-deps --python .bench/trl/bin/python -r $<
	touch $@

.PHONY: bench bench-gpu check-gpu
check-gpu: | $(SETUP) ## what to run first on a GPU: a line for each thing that must work there, check-gpu.json, an exit code (DEVICE=cpu tries the script)
	python -m benchmarks.check_gpu --out check-gpu.json $(if $(DEVICE),--device $(DEVICE)) $(if $(ONLY),--only $(ONLY))

bench: $(SETUP) $(TRL) ## measure against TRL and per-row updates, write benchmarks/RESULTS.md (QUICK=1: a look; ONLY=a,d)
	python -m benchmarks.run $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(THREADS),--threads $(THREADS))

bench-gpu: | $(SETUP) ## the stages at real size on one CUDA GPU, with random weights; nothing from the network
	python -m benchmarks.gpu
