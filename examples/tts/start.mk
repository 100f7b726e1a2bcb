# How the starting policy of synthesis is made: `make tts-start`, about two hours and a half on two cores.
# Speech: synthetic (hibari-tts, one voice) and human (Debian's Asterisk prompts); two voices. Sentences for the tokenizer;
# the LM and the flow learn mostly telephone prompts, which is what the loop says. Included by the Makefile.

S2 ?= runs/tts-start
S2_SPEECH := --shards $(S2)/speech
S2_ALL := --shards $(S2)/all
S2_SAID := --shards $(S2)/said
S2_CODES := 2187# 3**7: the tokenizer's --dims
S2_CODEC_STEPS ?= 4500
S2_VOCODER_STEPS ?= 4000
S2_FLOW_STEPS ?= 3600
S2_TOKEN_ASR_STEPS ?= 1500
S2_EPOCHS ?= 4
, := ,
S2_SAY = arl data --synthetic $(1),0,clean --seed $(2) --min-s 0.8 --max-s 7 --shuffle --batch 16 $(foreach set,$(3),--against $(S2)/$(set))

.PHONY: tts-start
tts-start: | $(SETUP) ## rebuild examples/tts/start and token-asr: the starting policy of synthesis and its reward model
	arl data --asterisk --split test=0.15,train=0.85 --shuffle --seed 7 --min-s 0.6 --max-s 7 -o $(S2)/human
	$(call S2_SAY,3600$(,)1100,5) -o $(S2)/synthetic
	$(call S2_SAY,4500$(,)300,6,synthetic) -o $(S2)/more
	$(call S2_SAY,5500$(,)600,8,synthetic more) -o $(S2)/more-2
	arl data --shards $(S2)/synthetic --shards $(S2)/human/train --shuffle --seed 3 --batch 16 -o $(S2)/speech
	arl data $(S2_SPEECH) --shards $(S2)/more --shards $(S2)/more-2 --shuffle --seed 4 --batch 16 -o $(S2)/all
	$(call S2_SAY,0$(,)5400,11,all) -o $(S2)/prompts
	$(call S2_SAY,0$(,)5400,12,all) -o $(S2)/prompts-2
	arl data $(S2_SPEECH) --shards $(S2)/prompts --shards $(S2)/prompts-2 --shuffle --seed 4 --batch 16 -o $(S2)/said
	python examples/tts/train.py texts $(S2_ALL) $(S2_SAID) -o examples/tts/texts
	python examples/tts/train.py codec $(S2_ALL) --steps $(S2_CODEC_STEPS) -o $(S2)/parts & \
	python examples/tts/train.py vocoder $(S2_SPEECH) --steps $(S2_VOCODER_STEPS) -o $(S2)/parts
	wait $$!
	python examples/tts/train.py policy $(S2_SPEECH) --parts $(S2)/parts -o $(S2)/blank
	arl encode $(S2_SAID) --policy $(S2)/blank -o $(S2)/emb
	python examples/tts/train.py flow $(S2_SAID) --parts $(S2)/parts --steps $(S2_FLOW_STEPS) & \
	arl update --loss sft --shards $(S2)/emb --policy $(S2)/blank --epochs $(S2_EPOCHS) --lr 1e-3 --warmup 100 \
	  --schedule cosine --weight-decay 0.05 --tokens 4096 --save-every 300 -o $(S2)/policy
	wait $$!
	arl train-token-asr --shards $(S2)/emb $(S2_SAID) --tokenizer $(S2)/parts --codes $(S2_CODES) \
	  --steps $(S2_TOKEN_ASR_STEPS) --lr 1e-3 --noise 0.05 -o examples/tts/token-asr
	cp $(S2)/parts/{decoder.json,flow.safetensors} $(S2)/policy/frontend/
	rm $(S2)/policy/frontend/codec.* # only recordings need it
	arl export --policy $(S2)/policy --slim --dtype float16 -o examples/tts/start
