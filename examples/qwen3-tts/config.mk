# Qwen3-TTS of 12 Hz, CustomVoice: the setting of CosyVoice2's, at 12.5 frames a second of 16 codes. Used as
# CONFIG=examples/qwen3-tts/config.mk; every value can be given on make's command line.
#
#     make loop CONFIG=examples/qwen3-tts/config.mk START=Qwen3-TTS-12Hz-0.6B-CustomVoice TRAIN_TEXTS=train.txt \
#       TEST_TEXTS=test.txt RUN=runs/qwen3-tts
#
# START is the folder as it is downloaded, or a hub's name. Each text is spoken by its `speaker`, or the checkpoint's first; the
# evaluation has no similarity. Not run at full size here: the learning rate is a guess.
START ?= Qwen3-TTS-12Hz-0.6B-CustomVoice
INIT ?= --language sample
MAX_NEW_TOKENS ?= 375# 30 s
EVAL_VOICES ?=
EVAL_SKIP ?= similarity
include examples/cosyvoice2/config.mk
