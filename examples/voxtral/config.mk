# Voxtral: Mistral's own request for transcription, with a language or none; every clip is padded to whole windows of 30 s
# (375 embeddings), so clips of nearly 30 s cost the same as short ones.
START ?= mistralai/Voxtral-Mini-3B-2507
SIZE ?= large
LANGUAGE ?= sample
GROUP ?= 12
include examples/checkpoint.mk
