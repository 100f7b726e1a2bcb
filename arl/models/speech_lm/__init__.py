"""What the families of speech LLMs share: an audio tower and projector of transformers in front of a causal LM.

A family (arl/models/qwen3_asr/ …) says what is its own in a subclass of `family.SpeechLm`; the rest is here:
`source` finds the files, `layout` splits the tensors, `build` and `export` write them, `tower` and `encode` run them.
"""
