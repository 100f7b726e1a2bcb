# How the starting policy of examples/asr/voices.mk is made: `make voices-start`, an hour and a half on two cores. The start
# of the demo, trained on the speech of many characters, at three speeds, and then with synthetic speech mixed in.

V ?= runs/voices-start
VOICES_SFT := --loss sft --train-projector --ctc 0.5 --weight-decay 0.05 --tokens 4096 --save-every 100
VOICES_STEPS ?= 1116

.PHONY: voices-start
voices-start: $(SETUP) ## rebuild examples/asr/voices-start: many voices and synthetic speech (an hour and a half)
	$(call VOICES,$(V)/data/voices)
	$(call PARTS,$(V)/data)
	arl data --shards $(V)/data/parts/sft --speed 0.9,1,1.1 --shuffle --seed 6 -o $(V)/data/speeds
	arl data --synthetic 3000,600,0 --seed 3 --max-s 10 --shuffle --against $(V)/data/voices/test \
	  --against $(V)/data/voices/dev -o $(V)/data/synthetic
	arl init --from examples/asr/start -o $(V)/policy
	for kind in speeds synthetic; do
	  arl encode --features --shards $(V)/data/$$kind --policy $(V)/policy -o $(V)/features/$$kind
	done
	arl update $(VOICES_SFT) --shards $(V)/features/speeds --shards $(V)/data/speeds --policy $(V)/policy \
	  --lr 1e-3 --warmup 20 -o $(V)/phase1
	python examples/asr/mixed.py $(V)/data $(V)/features speeds synthetic -o $(V)/mixed
	arl update $(VOICES_SFT) --shards $(V)/mixed/features --shards $(V)/mixed/data --policy $(V)/phase1 --fresh-optimizer \
	  --epochs 3 --lr 1e-3 --warmup 20 --schedule cosine --max-steps $(VOICES_STEPS) -o $(V)/phase2
	arl export --policy $(V)/phase2 --slim --dtype float16 -o examples/asr/voices-start
