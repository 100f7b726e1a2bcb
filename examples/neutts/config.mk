# NeuTTS Air with NeuCodec: the setting of CosyVoice2's, at 50 codes a second. Used as CONFIG=examples/neutts/config.mk; every value
# can be given on make's command line.
#
#     make loop CONFIG=examples/neutts/config.mk START=neutts-air CODEC=neucodec TRAIN_TEXTS=train.txt TEST_TEXTS=test.txt \
#       INIT="--codec neucodec --voice ann=ann.wav:'what it says.'" EVAL_VOICES=ann.wav EVAL_SKIP= RUN=runs/neutts
#
# START and CODEC are folders of transformers; phonemes need the extra arl[neutts]. EVAL_VOICES is the voice's recording, to compare
# with. Not run at full size here: the learning rate is a guess.
START ?= neutts-air
CODEC ?= neucodec
INIT ?= --codec $(CODEC) --language en-us
MAX_NEW_TOKENS ?= 1500# 30 s
EVAL_VOICES ?=
EVAL_SKIP ?= similarity
include examples/cosyvoice2/config.mk
