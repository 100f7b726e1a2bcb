# Fun-ASR-Nano: 17 embeddings a second. LANGUAGE=zh, en or ja; HOTWORDS=1 puts each utterance's keywords into its prompt.
START ?= FunAudioLLM/Fun-ASR-Nano-2512-hf
SIZE ?= small
REWARD ?= $(if $(HOTWORDS),--with wer --with keyword --gate hallucination=-1,--with wer --gate hallucination=-1)
include examples/checkpoint.mk
