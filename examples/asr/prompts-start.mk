# How the starting policy of prompts.mk is made: `make prompts-start`, over half an hour on two cores. Synthetic speech first, then three
# minutes of human speech. Included by the Makefile.

PROMPTS_IN ?= runs/prompts-start
PROMPTS_START ?= examples/asr/prompts-start
PROMPTS_TEXTS ?= 14000,3500,1500
PROMPTS_STEPS ?= 1400 250 24# of the three phases
PROMPTS_SFT := --loss sft --train-projector --ctc 0.5 --weight-decay 0.05 --autocast bfloat16 --tokens 4096 --save-every 100

# Human speech in three sets that share no text: the test set, what the start is made of, and what RL trains on.
PROMPTS = arl data --asterisk --split test=0.45,sft=0.15,train=0.40 --shuffle --seed 7 --max-s 10 -o $(1)

.PHONY: prompts-start
prompts-start: $(SETUP) ## rebuild examples/asr/prompts-start from packages: synthetic speech, then 3 minutes of human (over half an hour)
	$(call PROMPTS,$(PROMPTS_IN)/human)
	arl data --synthetic $(PROMPTS_TEXTS) --max-s 10 --shuffle --against $(PROMPTS_IN)/human/test --against $(PROMPTS_IN)/human/train \
	  --against $(PROMPTS_IN)/human/sft -o $(PROMPTS_IN)/synthetic
	arl init --from whisper-tiny.en --llm new:256x4 -o $(PROMPTS_IN)/new
	arl encode --features --shards $(PROMPTS_IN)/synthetic --policy $(PROMPTS_IN)/new -o $(PROMPTS_IN)/features/synthetic
	arl encode --features --shards $(PROMPTS_IN)/human/sft --policy $(PROMPTS_IN)/new -o $(PROMPTS_IN)/features/human
	arl update $(PROMPTS_SFT) --shards $(PROMPTS_IN)/features/synthetic --shards $(PROMPTS_IN)/synthetic --policy $(PROMPTS_IN)/new \
	  --epochs 4 --lr 1e-3 --warmup 150 --schedule cosine --total-steps 2364 --max-steps $(word 1,$(PROMPTS_STEPS)) -o $(PROMPTS_IN)/phase1
	mkdir -p $(PROMPTS_IN)/mix/features $(PROMPTS_IN)/mix/audio
	synthetic=($(PROMPTS_IN)/synthetic/*.tar); human=($(PROMPTS_IN)/human/sft/*.tar); \
	for ((k = 0; k < $(word 2,$(PROMPTS_STEPS)); k++)); do \
	  if ((k % 6 == 3)); then kind=human; audio=$${human[k / 6 % $${#human[@]}]}; \
	  else kind=synthetic; audio=$${synthetic[k % $${#synthetic[@]}]}; fi; \
	  ln -sfr $$audio $(PROMPTS_IN)/mix/audio/$$(printf '%06d' $$k).tar; \
	  ln -sfr $(PROMPTS_IN)/features/$$kind/$$(basename $$audio) $(PROMPTS_IN)/mix/features/$$(printf '%06d' $$k).tar; \
	done
	arl update $(PROMPTS_SFT) --shards $(PROMPTS_IN)/mix/features --shards $(PROMPTS_IN)/mix/audio --policy $(PROMPTS_IN)/phase1 --fresh-optimizer \
	  --lr 4e-4 --warmup 20 --max-steps $(word 2,$(PROMPTS_STEPS)) -o $(PROMPTS_IN)/phase2
	arl update $(PROMPTS_SFT) --shards $(PROMPTS_IN)/mix/features --shards $(PROMPTS_IN)/mix/audio --policy $(PROMPTS_IN)/phase2 \
	  --lr 1.5e-4 --max-steps $(word 3,$(PROMPTS_STEPS)) -o $(PROMPTS_IN)/phase3
	arl export --policy $(PROMPTS_IN)/phase3 --slim --dtype float16 -o $(PROMPTS_START)
