# What a run is: its folders, its configuration, and how recipes run. Included by the Makefile and by loop.mk.
# Every variable can be given on make's command line: make loop RUN=runs/mine CONFIG=examples/tts/config.mk STEPS=40

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:# one shell per recipe: a step has a dozen lines
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
Q := $(if $(V),,@)# make V=1 shows the commands

VENV ?= .venv
export PATH := $(abspath $(VENV))/bin:$(PATH)
unexport PYTHONDONTWRITEBYTECODE

CONFIG ?= examples/asr/config.mk
RUN ?= runs/demo
DATA ?= $(RUN)/data
EMB ?= $(RUN)/emb
include $(CONFIG)
TRAIN ?= $(DATA)/train
TEST ?= $(DATA)/test# a folder of shards, or several as NAME=FOLDER
test_name = $(if $(findstring =,$(1)),$(firstword $(subst =, ,$(1))))
test_emb = $(EMB)/test$(addprefix /,$(test_name))
TEST_SETS ?= $(foreach set,$(TEST),$(if $(call test_name,$(set)),--set $(call test_name,$(set))=,--shards )$(call test_emb,$(set)))
# $(1) folder of the policy, $(2) of the evaluation, $(3) of one to compare with
EVALUATE ?= arl eval $(TEST_SETS) --policy $(1) $(if $(3),--compare $(3)) --max-new-tokens $(MAX_NEW_TOKENS) -o $(2)

pad = $(shell printf %06d $$(($(1))))
divides = $(filter 0,$(shell echo $$(($(2) % $(1)))))

ENGINE ?= $(RUN)/engine
export ARL_ENGINE := $(ENGINE)
# GPUS of a node, and NODES, that `arl update` has: processes of torchrun. On one node they meet in a file: torch's TCP
# store listens on every interface. On several, srun starts a torchrun on each, and HEAD is the first one.
GPUS ?= 1
NODES ?= 1
HEAD ?= $(shell hostname)
TORCHRUN = torchrun --nproc-per-node $(GPUS) --rdzv-backend c10d
ALONE = TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 $(TORCHRUN) --rdzv-conf store_type=file
SPREAD_OUT = srun --nodes $(NODES) --ntasks-per-node 1 $(TORCHRUN) --nnodes $(NODES) \
  --rdzv-endpoint $(HEAD) --rdzv-id $(abspath $(RUN))
LAUNCH ?= $(if $(filter-out 1,$(NODES)),$(SPREAD_OUT) -m ,$(if $(filter-out 1,$(GPUS)),$(ALONE) -m ))# before `arl update`

# Processes of `arl encode`, each with its part of the shards: one a GPU, or on a CPU one a core, which is faster than threads
# are. At most four there, for memory.
CORES = $(or $(filter-out 0,$(ARL_THREADS)),$(shell nproc))
ENCODERS ?= $(if $(wildcard /dev/nvidia0),$(GPUS),$(shell echo $$(($(CORES) < 4 ? $(CORES) : 4))))
ENCODE = arl encode --gpus $(ENCODERS) --shards $(1) --policy $(RUN)/policy -o $(2)

WARM ?= rollout reward $(if $(LAUNCH),,update) sync report
WARM_IN ?= $(RUN)/warm
export ARL_WARM := $(if $(WARM),$(WARM_IN))# set to nothing: cold
PAGE ?= $(RUN)/report.html# what a loop ends with, by arl report --html; set to nothing: none
TRACK ?=# tensorboard, wandb or trackio: each step and evaluation goes there too, by arl report --track
KEEP ?=# set: the engine and the resident stages go on when a loop is done

FOLDERS := RUN DATA EMB ENGINE WARM_IN
$(foreach name,$(FOLDERS),\
  $(if $(word 2,$($(name))),$(error $(name): "$($(name))" has a space, which make cannot have in a file name)))
# What the shell or make would read as more than a name.
SPECIAL := ' " ` ; & | < > ( ) * ? [ ] { } \ ! % ^ : $$ \#
$(foreach name,$(FOLDERS),$(foreach one,$(SPECIAL),\
  $(if $(findstring $(one),$(value $(name))),$(if $(filter command environment,$(firstword $(origin $(name)))),\
    $(error $(name): "$(value $(name))" has a $(one), which is no part of a name here)))))
$(foreach name,$(FOLDERS),$(if $(filter -%,$($(name))),$(error $(name): "$($(name))" begins like an option)))
$(if $(RUN),,$(error RUN is empty: name a folder))
