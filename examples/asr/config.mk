# The embedded default: a 3 M-parameter LLM on Whisper base's encoder, and acted speech of 29 characters. Training, development
# and test have characters and texts of their own. Everything here was chosen with ON=dev; the test is for figures that are printed.
# Every value can be given on make's command line: make loop STEPS=5 LR=1e-5
START ?= examples/asr/start
ON ?= test# or dev
TEST ?= short=$(DATA)/voices/$(ON) long=$(DATA)/long/$(ON)
STEPS ?= 20
EVAL_EVERY ?= 10
# Near the mode, hypotheses differ where greedy decoding is in doubt; a gradient's noise is that of the utterances, so a step has
# many (94) and few hypotheses of each.
GROUP ?= 6
ROLLOUT ?= --temperature 0.5
MAX_NEW_TOKENS ?= 200
# The paper's rewards: accuracy; with hallucinations at -1; with keywords. REWARD='$(REWARD_ALL)' trains with all three.
REWARD_R1 = --with wer
REWARD_R12 = --with wer --gate hallucination=-1
REWARD_ALL = --with wer --with keyword --gate hallucination=-1
REWARD ?= $(REWARD_R1)
UPDATE ?= --loss $(LOSS) --lr $(LR) --warmup 3 --schedule cosine --total-steps $(STEPS) --beta $(BETA)
LOSS ?= dapo
LR ?= 4e-4
BETA ?= 0.03
SEED ?= 0
CONTROL ?= --lr $(LR) --warmup 3 --schedule cosine --shuffle

# Clips are at most 10 s, as in the start's training, which reads longer ones badly. Long ones are neighbours joined, of one speaker
# each: three orders of them are 37 % of what is trained on, which 20 steps read once. The texts of the start (start.mk), of training
# and of each test are apart.
LONG ?= 12-15# seconds
ORDERS ?= 1 2 3
define MAKE_DATA
$(call VOICES,$(DATA)/voices)
$(Q)$(call PARTS,$(DATA))
$(Q)join() { arl data --shards $$1 --concatenate $(LONG) -o $$2; }
joined() { # of a test, or an order of training
  case $$1 in
    test|dev) join $(DATA)/voices/$$1 $(DATA)/long/$$1 ;;
    *) arl data --shards $(DATA)/parts/rl --shuffle --seed $$1 -o $(DATA)/order/$$1
       join $(DATA)/order/$$1 $(DATA)/long/$$1 ;;
  esac
}
export -f join joined
printf '%s\n' $(ORDERS) test dev | xargs -P $(CORES) -I{} bash -euo pipefail -c 'joined {}'
$(Q)arl data --shards $(DATA)/parts/rl $(foreach order,$(ORDERS),--shards $(DATA)/long/$(order)) --shuffle --seed 7 --batch 94 -o $(DATA)/train
endef
