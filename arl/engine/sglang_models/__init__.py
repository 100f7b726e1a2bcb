"""SGLang's external model package: the model class that `arl` serves (SGLANG_EXTERNAL_MODEL_PACKAGE)."""

ARCHITECTURE = "ARL_ENGINE_ARCHITECTURE"  # in the engine's environment: the name of SGLang's class that it serves
ADAPTERS = "ARL_ENGINE_ADAPTERS"  # in the engine's environment: that adapters are kept apart from the weights
PREDICTOR = "arl_predictor"  # in the served configuration: the folder of the model that samples the other codebooks
RESIDUALS = "ARL_ENGINE_RESIDUALS"  # in the engine's environment: that there is one
RESIDUAL = "residual"  # of an answer's meta_info: those codes, per token
HEAD_BIAS = "arl_head_bias"  # in the served configuration: whether the checkpoint has an lm_head.bias


def our_name(architecture: str) -> str:
    """What our class for SGLang's class of this name is called."""
    return f"Arl{architecture}"
