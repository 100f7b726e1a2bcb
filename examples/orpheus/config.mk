# Orpheus 3B with SNAC: the setting of CosyVoice2's, at 82 codes a second. Used as CONFIG=examples/orpheus/config.mk; every value can be
# given on make's command line.
#
#     make loop CONFIG=examples/orpheus/config.mk START=orpheus-3b-0.1-ft CODEC=snac_24khz TRAIN_TEXTS=train.txt \
#       TEST_TEXTS=test.txt RUN=runs/orpheus
#
# START is a folder of transformers, CODEC SNAC's as it is downloaded; SNAC needs the extra arl[orpheus]. The voice is one of the
# fine-tuned checkpoint's names. Not run at full size here: the learning rate is a guess.
START ?= orpheus-3b-0.1-ft
CODEC ?= snac_24khz
VOICE ?= tara
INIT ?= --codec $(CODEC) --voice $(VOICE)
MAX_NEW_TOKENS ?= 2500# 30 s
EVAL_VOICES ?=
EVAL_SKIP ?= similarity
include examples/cosyvoice2/config.mk
