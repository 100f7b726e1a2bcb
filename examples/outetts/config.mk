# OuteTTS 1.0 with DAC: the setting of CosyVoice2's, at 150 codes a second and the words between them. Used as
# CONFIG=examples/outetts/config.mk; every value can be given on make's command line.
#
#     make loop CONFIG=examples/outetts/config.mk START=OuteTTS-1.0-0.6B CODEC=dac-speech-hf TRAIN_TEXTS=train.txt \
#       TEST_TEXTS=test.txt INIT='--codec dac-speech-hf --voice ann=speaker.json' RUN=runs/outetts
#
# START and CODEC are folders of transformers (arl/models/README.md says where the codec's comes from). Not run at full size here: the
# learning rate is a guess.
START ?= OuteTTS-1.0-0.6B
CODEC ?= dac-speech-hf
INIT ?= --codec $(CODEC)
MAX_NEW_TOKENS ?= 4000# 20 s and more
EVAL_VOICES ?=
EVAL_SKIP ?= similarity
include examples/cosyvoice2/config.mk
