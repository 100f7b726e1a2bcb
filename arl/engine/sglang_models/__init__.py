"""SGLang's external model package: the model class that `arl` serves (SGLANG_EXTERNAL_MODEL_PACKAGE)."""

ARCHITECTURE = "ARL_ENGINE_ARCHITECTURE"  # in the engine's environment: the name of SGLang's class that it serves
HEAD_BIAS = "arl_head_bias"  # in the served configuration: whether the checkpoint has an lm_head.bias


def our_name(architecture: str) -> str:
    """What our class for SGLang's class of this name is called."""
    return f"Arl{architecture}"
