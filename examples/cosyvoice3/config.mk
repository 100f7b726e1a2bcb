# Fun-CosyVoice3-0.5B in the setting of CosyVoice2's. Used as CONFIG=examples/cosyvoice3/config.mk; every value can be given on
# make's command line.
#
#     make loop CONFIG=examples/cosyvoice3/config.mk START=Fun-CosyVoice3-0.5B TRAIN_TEXTS=train.txt TEST_TEXTS=test.txt \
#       INIT="--voice ann=ann.wav:'You are a helpful assistant.<|endofprompt|>what it says'" RUN=runs/cosyvoice3
#
# A prompt needs <|endofprompt|> in front of the text: in what the voice says, as above, or by INIT="--instruction '…'". The LM that
# upstream has trained by reinforcement is llm.rl.pt of the folder: copy it over llm.pt to begin with it. Not run at full size
# here: the learning rate is a guess.
START ?= Fun-CosyVoice3-0.5B
include examples/cosyvoice2/config.mk
