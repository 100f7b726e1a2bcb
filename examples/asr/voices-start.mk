# How the starting policy of examples/asr/voices.mk is made: `make voices-start`, over an hour on two cores. The start of the
# demo, trained on the speech of many characters, at three speeds, and then with synthetic speech mixed in.

VOICES_IN ?= runs/voices-start
VOICES_START ?= $(VOICES_IN)/start
VOICES_SFT := --loss sft --train-projector --ctc 0.5 --weight-decay 0.05 --tokens 4096 --save-every 100
VOICES_STEPS ?= 780

.PHONY: voices-start
voices-start: $(VENV)/arl.done ## the start of examples/asr/voices.mk: many voices and synthetic speech (over an hour)
	$(call VOICES,$(VOICES_IN)/data/voices)
	$(call PARTS,$(VOICES_IN)/data)
	arl data --shards $(VOICES_IN)/data/parts/sft --speed 0.9,1,1.1 --shuffle --seed 6 -o $(VOICES_IN)/data/speeds
	arl data --synthetic 3000,600,0 --seed 3 --max-s 10 --shuffle --against $(VOICES_IN)/data/voices/test \
	  --against $(VOICES_IN)/data/voices/dev -o $(VOICES_IN)/data/synthetic
	arl init --from examples/asr/start -o $(VOICES_IN)/policy
	for kind in speeds synthetic; do
	  arl encode --features --shards $(VOICES_IN)/data/$$kind --policy $(VOICES_IN)/policy -o $(VOICES_IN)/features/$$kind
	done
	arl update $(VOICES_SFT) --shards $(VOICES_IN)/features/speeds --shards $(VOICES_IN)/data/speeds --policy $(VOICES_IN)/policy \
	  --lr 1e-3 --warmup 20 -o $(VOICES_IN)/phase1
	python examples/asr/mixed.py $(VOICES_IN)/data $(VOICES_IN)/features speeds synthetic -o $(VOICES_IN)/mixed
	arl update $(VOICES_SFT) --shards $(VOICES_IN)/mixed/features --shards $(VOICES_IN)/mixed/data --policy $(VOICES_IN)/phase1 --fresh-optimizer \
	  --epochs 3 --lr 1e-3 --warmup 20 --schedule cosine --max-steps $(VOICES_STEPS) -o $(VOICES_IN)/phase2
	arl export --policy $(VOICES_IN)/phase2 --slim --dtype float16 -o $(VOICES_START)
