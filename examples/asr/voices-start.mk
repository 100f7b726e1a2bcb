# How the starting policy of examples/asr/voices.mk is made: `make voices-start`, about two hours on two cores. From scratch:
# Whisper base's encoder, 12.5 embeddings a second, a fresh LLM over subwords; human speech at three speeds, each clip twice
# as often as synthetic speech at two speeds, which shift the one voice's pitch and formants.

VOICES_IN ?= runs/voices-start
VOICES_START ?= examples/asr/voices-start
VOICES_SFT := --loss sft --train-projector --ctc 0.5 --token-dropout 0.15 --weight-decay 0.05 --tokens 4096 --save-every 200 --schedule cosine

.PHONY: voices-start
voices-start: $(VENV)/arl.done ## rebuild examples/asr/voices-start: many voices and synthetic speech (two hours)
	$(call VOICES,$(VOICES_IN)/data/voices)
	$(call PARTS,$(VOICES_IN)/data)
	arl data --shards $(VOICES_IN)/data/parts/sft --speed 0.9,1,1.1 --shuffle --seed 6 -o $(VOICES_IN)/data/human
	arl data --synthetic 5000,1200,0 --seed 3 --max-s 10 --shuffle --against $(VOICES_IN)/data/voices/test \
	  --against $(VOICES_IN)/data/voices/dev -o $(VOICES_IN)/data/spoken
	arl data --shards $(VOICES_IN)/data/spoken --speed 0.87,1.15 --shuffle --seed 6 -o $(VOICES_IN)/data/synthetic
	arl init --from whisper-base --stack 4 --llm new:256x4 --subwords 300 --texts $(VOICES_IN)/data/parts/sft \
	  --texts $(VOICES_IN)/data/spoken -o $(VOICES_IN)/policy
	for kind in human synthetic; do
	  arl encode --features --shards $(VOICES_IN)/data/$$kind --policy $(VOICES_IN)/policy -o $(VOICES_IN)/features/$$kind
	done
	python examples/asr/mixed.py $(VOICES_IN)/data $(VOICES_IN)/features human synthetic human -o $(VOICES_IN)/mixed
	for phase in "first policy 2e-3 150 0 2400" "second first 1.5e-3 50 1 1816"; do
	  read -r name from lr warmup seed steps <<< "$$phase"
	  arl update $(VOICES_SFT) --shards $(VOICES_IN)/mixed/features --shards $(VOICES_IN)/mixed/data --policy $(VOICES_IN)/$$from \
	    --lr $$lr --warmup $$warmup --seed $$seed --epochs 3 --max-steps $$steps -o $(VOICES_IN)/$$name
	done
	arl export --policy $(VOICES_IN)/second --slim --dtype float16 -o $(VOICES_START)
