# Llasa-1B with X-Codec 2: the setting of CosyVoice2's, at 50 codes a second. Used as CONFIG=examples/llasa/config.mk; every value
# can be given on make's command line.
#
#     make loop CONFIG=examples/llasa/config.mk START=Llasa-1B CODEC=xcodec2-hf TRAIN_TEXTS=train.txt TEST_TEXTS=test.txt \
#       RUN=runs/llasa
#
# START and CODEC are folders of transformers. Without a voice each text is spoken by whichever the model likes, and the evaluation has
# no similarity; with one: INIT="--codec xcodec2-hf --voice ann=ann.wav:'what it says. '" EVAL_VOICES=ann.wav EVAL_SKIP=. Not run at
# full size here: the learning rate is a guess.
START ?= Llasa-1B
CODEC ?= xcodec2-hf
INIT ?= --codec $(CODEC)
MAX_NEW_TOKENS ?= 1500# 30 s
EVAL_VOICES ?=
EVAL_SKIP ?= similarity
include examples/cosyvoice2/config.mk
