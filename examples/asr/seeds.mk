# The demo with several seeds and their supervised controls, on the same data and embeddings: the table of examples/asr/RESULTS.md.
#
#     make seeds                                        # everything, resumable
#     make seeds SEEDS_IN=runs/seeds-long STEPS=45 ORDERS="1 2 3 4 5"         # of demo-long
#     ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 make seeds SEEDS_IN=runs/seeds-avx2
SEEDS_IN ?= runs/seeds
DEMO_SEEDS ?= 0 1 2 3 4

.PHONY: seeds
seeds: $(SETUP) ## the demo and its control with DEMO_SEEDS="0 1 2 3 4" each, and a table of them
	one() { # target, evaluation, arm, seed
	  run=$(SEEDS_IN)/RL/$$4
	  [ -e $$run/eval/$$2/summary.json ] || $(SUBMAKE) $$1 RUN=$$run SEED=$$4 DATA=$(SEEDS_IN)/data \
	    EMB=$(SEEDS_IN)/emb EVAL_EVERY=1000 PAGE=
	  mkdir -p $(SEEDS_IN)/$$3/$$4
	  ln -sfnr $$run/eval/$$2 $(SEEDS_IN)/$$3/$$4/final
	}
	for seed in $(DEMO_SEEDS); do
	  one loop final RL $$seed
	  one control control SFT $$seed
	done
	ln -sfnr $(SEEDS_IN)/RL/$(firstword $(DEMO_SEEDS))/eval/000000 $(SEEDS_IN)/base
	python examples/asr/table1.py $(SEEDS_IN) -o $(SEEDS_IN)/SEEDS.md
