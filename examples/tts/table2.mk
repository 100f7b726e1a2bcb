# The paper's Table 2 on the embedded default: six arms from one starting policy, each with several seeds, the same texts
# and the same number of steps. Included by the top Makefile; examples/tts/RESULTS.md has the result.
#
#     make table2                                  # everything, resumable: each run is `make loop`, each step a stamp
#     make table2 QUICK=1 T2=runs/table2-quick     # the same at a toy size, minutes: does it run?
#     make fig3                                    # reward and judge WER by step, over a longer run of each arm

T2 ?= runs/table2
T2_SEEDS ?= 0 1 2
T2_ARMS ?= diffro-R1 grpo-R1 combined-R1 filter-R1 filter-R12 filter-R123
T2_START ?= examples/tts/start
T2_STEPS ?= 16
T2_LR ?= 1e-4
F3_ARMS ?= diffro-R1 grpo-R1 combined-R1 filter-R1
F3_STEPS ?= 48
F3_EVERY ?= 12
F3_SKIP := mos,similarity,f0# the figure has words alone
T2_SETTINGS =# of every run: any variable of config.mk
ifdef QUICK
T2_SEEDS := 0
T2_ARMS := diffro-R1 filter-R12
F3_ARMS := filter-R12
T2_STEPS := 2
F3_STEPS := 2
F3_EVERY := 100
T2_SETTINGS := TEXTS=4 EVAL_TEXTS=4 GROUP=4 MAX_NEW_TOKENS=60 EVAL_SKIP=mos,f0
endif
T2_OUT ?= $(if $(QUICK),$(T2)/TABLE2.md,examples/tts/RESULTS.md)
F3_OUT ?= $(if $(QUICK),$(T2)/FIG3.md,examples/tts/RESULTS.md)

T2_LOSS_OF_diffro := diffro
T2_LOSS_OF_grpo := grpo
T2_LOSS_OF_combined := combined
T2_LOSS_OF_filter := combined
T2_ALL = CONFIG=examples/tts/config.mk START=$(T2_START) DATA=$(T2)/data EMB=$(T2)/emb ENGINE=$(T2)/engine \
  WARM_IN=$(T2)/warm KEEP=1 LR=$(T2_LR) $(T2_SETTINGS)

# The base: a loop of no steps, whose data, policy and first evaluation the others share. The targets here are names that
# no loop makes: a make of RUN=$(T2)/base reads this file, too.
$(T2)/base.done: | $(SETUP)
	$(Q)$(SUBMAKE) $(T2)/base/eval/000000/summary.json RUN=$(T2)/base $(T2_ALL)
	$(Q)touch $@

# A run of an arm, as LOSS-REWARDS; its first step says the shard 7 x SEED. $(1) folder of the run, $(2) arm, $(3) seed, $(4) more
define T2_LOOP
$(Q)mkdir -p $(1)/eval
ln -sfnr $(T2)/base/policy $(1)/policy
ln -sfnr $(T2)/base/eval/000000 $(1)/eval/000000
[ -e $(1)/encode.done ] || { echo $$(($(3) * 7)) > $(1)/next; touch $(1)/encode.done; }
$(SUBMAKE) loop RUN=$(1) SEED=$(3) LOSS=$(T2_LOSS_OF_$(firstword $(subst -, ,$(2)))) \
  REWARDS=$(lastword $(subst -, ,$(2))) $(T2_ALL) $(if $(filter combined-%,$(2)),NO_FILTER=1) $(4)
endef

T2_DONE := $(foreach seed,$(T2_SEEDS),$(T2_ARMS:%=$(T2)/runs/%/$(seed)/final/summary.json))
$(T2_DONE): $(T2)/runs/%/final/summary.json: $(T2)/base.done
	$(call T2_LOOP,$(T2)/runs/$*,$(patsubst %/,%,$(dir $*)),$(notdir $*),STEPS=$(T2_STEPS))
	ln -sfn eval/final $(T2)/runs/$*/final

F3_DONE := $(F3_ARMS:%=$(T2)/long/%.done)
$(F3_DONE): $(T2)/long/%.done: $(T2)/base.done
	$(call T2_LOOP,$(T2)/long/$*,$*,0,STEPS=$(F3_STEPS) EVAL_EVERY=$(F3_EVERY) EVAL_SKIP=$(F3_SKIP))
	touch $@

T2_STOP = ARL_ENGINE=$(T2)/engine ARL_WARM= arl engine stop; ARL_WARM=$(T2)/warm arl warm stop || true

.PHONY: table2 fig3
table2: $(T2_DONE) ## the paper's Table 2 (QUICK=1: at a toy size; resumable)
	$(Q)$(T2_STOP)
	$(Q)ln -sfnr $(T2)/base/eval/000000 $(T2)/runs/base
	$(Q)python examples/tts/table2.py $(T2)/runs -o $(T2_OUT) --plot $(dir $(T2_OUT))table2.png

fig3: $(F3_DONE) ## the paper's Figure 3: reward and judge WER by step (QUICK=1)
	$(Q)$(T2_STOP)
	$(Q)python -m examples.tts.fig3 $(T2)/long -o $(F3_OUT) --plot $(dir $(F3_OUT))fig3.png
