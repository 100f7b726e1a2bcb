# How the starting policy of recognition is made: `make start`, over half an hour on two cores. Synthetic speech first, then three
# minutes of human speech. Included by the Makefile.

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
