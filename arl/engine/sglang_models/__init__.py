"""SGLang's external model package: the model classes `arl` serves (SGLANG_EXTERNAL_MODEL_PACKAGE)."""

ARCHITECTURES = {  # what config.json says: our class
    "Qwen2ForCausalLM": "ArlQwen2ForCausalLM",
    "Qwen3ForCausalLM": "ArlQwen3ForCausalLM",
    "LlamaForCausalLM": "ArlLlamaForCausalLM",
}
