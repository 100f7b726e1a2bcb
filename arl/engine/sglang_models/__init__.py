"""SGLang's external model package: the model class that `arl` serves (SGLANG_EXTERNAL_MODEL_PACKAGE)."""

ARCHITECTURE = "ARL_ENGINE_ARCHITECTURE"  # in the engine's environment: the name of SGLang's class that it serves
ADAPTERS = "ARL_ENGINE_ADAPTERS"  # in the engine's environment: that adapters are kept apart from the weights
HEAD_BIAS = "arl_head_bias"  # in the served configuration: whether the checkpoint has an lm_head.bias


def our_name(architecture: str) -> str:
    """What our class for SGLang's class of this name is called."""
    return f"Arl{architecture}"
