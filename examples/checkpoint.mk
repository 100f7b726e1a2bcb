# What the configurations of recognition checkpoints share; examples/FAMILY/config.mk says what is the family's own.
#
#     arl data --manifest cv-corpus/en/train.tsv --max-s 30 --shuffle -o data/train     # and data/test
#     make loop CONFIG=examples/qwen3-asr/config.mk RUN=runs/mine DATA=data MACHINE=1x24
#
# START may be a local folder. Every value can be given on make's command line. They are starting points that nobody has
# tuned: no run has used a checkpoint of the real size.
STEPS ?= 200
EVAL_EVERY ?= 20
GROUP ?= 8
MAX_NEW_TOKENS ?= 256
REWARD ?= --with wer --gate hallucination=-1
LOSS ?= dapo
LR ?= $(if $(LORA),2e-5,1e-6)
BETA ?= 0.04
SEED ?= 0
UPDATE ?= --loss $(LOSS) --lr $(LR) --warmup 10 --beta $(BETA) $(MEMORY)
CONTROL ?= --lr $(LR) --warmup 10 $(MEMORY)

# The prompt: in place of the family's own words; a language's code, or sample for each utterance's; HOTWORDS=1: its keywords.
INSTRUCTION ?=
LANGUAGE ?=
HOTWORDS ?=
INIT ?= $(if $(INSTRUCTION),--instruction '$(INSTRUCTION)') $(if $(LANGUAGE),--language $(LANGUAGE)) $(if $(HOTWORDS),--hotwords)

# MACHINE is GPUs x GB of each: 1x24, 1x80 or 8x80. SIZE is the LLM's: small (0.6 B), medium (2 B), large (4 B), 7B. The flags are
# what the formulas of arl/planning allow; on one GPU the engine sleeps during the update.
MACHINE ?= 1x80
MEMORY ?= $(MEMORY_$(SIZE)_$(MACHINE))
LORA ?= $(LORA_$(SIZE)_$(MACHINE))
GPUS ?= $(firstword $(subst x, ,$(MACHINE)))
MEMORY_small_1x24 = --tokens 4096 --checkpointing
MEMORY_small_1x80 = --tokens 16384
MEMORY_small_8x80 = --tokens 16384
MEMORY_medium_1x24 = --tokens 2048 --checkpointing
LORA_medium_1x24 = 16
MEMORY_medium_1x80 = --tokens 8192 --checkpointing
MEMORY_medium_8x80 = --tokens 8192
MEMORY_large_1x24 = --tokens 2048 --checkpointing
LORA_large_1x24 = 16
MEMORY_large_1x80 = --tokens 4096 --checkpointing --offload
MEMORY_large_8x80 = --tokens 8192
MEMORY_7B_1x24 = --tokens 2048 --checkpointing
LORA_7B_1x24 = 16
MEMORY_7B_1x80 = --tokens 4096 --checkpointing --offload
MEMORY_7B_8x80 = --tokens 8192 --checkpointing
$(if $(MEMORY),,$(error no MEMORY flags for SIZE=$(SIZE) MACHINE=$(MACHINE): small, medium, large or 7B; 1x24, 1x80 or 8x80))

# Shards of the user's own; a step takes one of DATA/train (`arl data --batch`, 32 utterances).
define MAKE_DATA
ls $(DATA)/train/*.tar $(DATA)/test/*.tar &> /dev/null || \
  { echo "$(DATA): train/ and test/ want shards: arl data --manifest TRAIN.tsv --max-s 30 --shuffle -o $(DATA)/train" >&2; exit 1; }
endef
