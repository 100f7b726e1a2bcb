# Qwen2-Audio: 25 embeddings a second, clips of up to 30 s (arl data --max-s 30). The base model takes a whole prompt:
# START=Qwen/Qwen2-Audio-7B INSTRUCTION='<|audio_bos|><|AUDIO|><|audio_eos|>Detect the language and recognize the speech: <|en|>'
START ?= Qwen/Qwen2-Audio-7B-Instruct
SIZE ?= 7B
INSTRUCTION ?= Transcribe the speech. Write the words and nothing else.
include examples/checkpoint.mk
