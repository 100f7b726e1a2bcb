"""SGLang's external model package: the model classes `arl` serves (SGLANG_EXTERNAL_MODEL_PACKAGE)."""
