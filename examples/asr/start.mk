# How the starting policy of recognition is made: `make start`, about five hours on two cores. From scratch:
# Whisper base's encoder, 12.5 embeddings a second, a fresh LLM over subwords. It reads human speech at three speeds, each
# clip twice as often as synthetic speech at two speeds, which shift the one voice's pitch and formants; then the human
# clips among sentences spliced from their words, and among two other games' speech as Whisper heard it; last, among many
# more synthetic texts, for their words.

START_IN ?= runs/start
START_OUT ?= examples/asr/start
START_SFT := --loss sft --train-projector --ctc 0.5 --token-dropout 0.15 --weight-decay 0.05 --tokens 4096 --save-every 200 --schedule cosine

# The test's characters are at most 0.91 near (cosine of mean speaker embeddings) to any of training.
VOICES = arl data --amazon-queen --by speaker --max-s 10 --shuffle --seed 5 -o $(1) \
  --split test=jim+naomi+oracle+zombie+klunk,dev=chief+ian+henry+witch,train=rest
# Two parts of the training speakers' speech, without a common text: the start's, and that of reinforcement learning.
PARTS = arl data --shards $(1)/voices/train --split rl=0.3,sft=0.7 --shuffle --seed 5 -o $(1)/parts

.PHONY: start
start: $(SETUP) ## rebuild examples/asr/start: many voices, synthetic and spliced speech (five hours)
	v=$(START_IN)
	against="--against $$v/data/voices/test --against $$v/data/voices/dev"
	features() { arl encode --features --shards $$v/data/$$1 --policy $$v/policy -o $$v/features/$$1; }
	splice() { # of what, by whose CTC head, seed: the words of the clips as other sentences
	  python -m examples.asr.spliced $$v/data/$$1 $$v/features/$$1 --policy $$v/$$2 --data $$v/data/$$1-$$3 \
	    --features $$v/features/$$1-$$3 --seed $$3
	}
	phase() { # name, from, learning rate, warm-up, seed, steps, kinds of speech
	  python examples/asr/mixed.py $$v/data $$v/features "$${@:7}" -o $$v/mixed/$$1
	  arl update $(START_SFT) --shards $$v/mixed/$$1/features --shards $$v/mixed/$$1/data --policy $$v/$$2 \
	    --lr $$3 --warmup $$4 --seed $$5 --epochs 3 --max-steps $$6 -o $$v/$$1
	}
	$(call VOICES,$$v/data/voices)
	$(call PARTS,$$v/data)
	arl data --shards $$v/data/parts/sft --speed 0.9,1,1.1 --shuffle --seed 6 -o $$v/data/human
	arl data --synthetic 5000,1200,0 --seed 3 --max-s 10 --shuffle $$against -o $$v/data/spoken
	arl data --shards $$v/data/spoken --speed 0.87,1.15 --shuffle --seed 6 -o $$v/data/synthetic
	for game in steel_sky drascula; do
	  [ -d $$v/heard/$$game ] || python -m examples.asr.$$game -o $$v/heard/$$game
	  arl data --folder $$v/heard/$$game --max-s 10 --shuffle --seed 5 $$against -o $$v/data/$$game
	done
	arl data --shards $$v/data/steel_sky --speed 0.95,1.08 --shuffle --seed 6 -o $$v/data/sky
	arl init --from whisper-base --stack 4 --llm new:256x4 --subwords 300 --texts $$v/data/parts/sft --texts $$v/data/spoken \
	  -o $$v/policy
	for kind in human synthetic sky; do features $$kind; done
	phase first policy 2e-3 150 0 2400 human synthetic human
	phase second first 1.5e-3 50 1 1816 human synthetic human
	for seed in 1 2; do splice human second $$seed; done
	phase third second 1.5e-3 50 2 1300 human human-1 human-2
	for seed in 3 4; do splice human third $$seed; splice sky third $$seed; done
	phase fourth third 1.5e-3 50 3 2800 human human-1 sky human-2 sky-3 human-3 sky-4 human-4
	for seed in 5 6; do splice human fourth $$seed; splice sky fourth $$seed; done
	phase fifth fourth 1.5e-3 50 4 2100 human human-5 sky sky-5 human-6 sky-6
	arl data --shards $$v/data/parts/sft --speed 0.93,1.06 --shuffle --seed 9 -o $$v/data/paced
	arl data --shards $$v/data/drascula --speed 0.95,1.05 --shuffle --seed 6 -o $$v/data/vampire
	arl data --synthetic 9000,600,0 --seed 11 --max-s 10 --shuffle $$against -o $$v/data/more
	arl data --shards $$v/data/more --speed 0.85,1,1.18 --shuffle --seed 6 -o $$v/data/more-paced
	mkdir -p $$v/data/wide; ln -f $$(ls $$v/data/more-paced/*.tar | awk 'NR % 3 == 1') $$v/data/more-paced/stage.jsonl $$v/data/wide
	for kind in paced vampire wide; do features $$kind; splice $$kind fifth 7; done
	splice sky fifth 7
	phase sixth fifth 1.5e-3 50 6 2000 paced paced-7 wide wide-7 sky sky-7 vampire vampire-7
	arl export --policy $$v/sixth --slim --dtype float16 -o $(START_OUT)
