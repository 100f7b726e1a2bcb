"""The causal LM of a policy, loaded or taken from the model cache; and how any checkpoint of one is loaded.

No code of a folder ever runs, and what is read is whole: transformers makes up a missing tensor at random and passes
over one too many, so its loading report is read and both are refused. Tied tensors count as one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from arl.errors import ArlError
from arl.runtime.device import quiet_transformers
from arl.runtime.model_cache import MODEL_CACHE
from arl.train.attention import use_shared_attention
from arl.train.finite import refuse_not_finite
from arl.train.shared_prefix import check_decoder

UNREADABLE = OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError  # by transformers
BIAS = "lm_head.bias"
SOURCE_AGAIN = "take the folder from its source again"


def llm(folder: Path, device: torch.device) -> Any:
    """The causal LM in `folder` on the device: from the model cache, or loaded."""
    model = MODEL_CACHE.pop(folder)
    return load_llm(folder, device) if model is None else model.to(device)


def load_llm(folder: Path, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    """A causal LM for training or scoring: dropout off, attention that packs. ArlError for unsupported decoders."""
    model = causal_lm(folder, dtype or "auto", attn_implementation="sdpa")
    check_decoder(model.config)
    return use_shared_attention(model.to(device).eval())


def causal_lm(source: str | Path, dtype: torch.dtype | str, **options: Any) -> Any:
    """A checkpoint's causal LM, on the CPU. source: a folder, or a hub's name. options: of `from_pretrained`, `whole`.
    A folder's `lm_head.bias` is in it, for which most classes of transformers have no place.

    ArlError where it cannot be loaded, would need code of its own, or its weights are not whole and finite.
    """
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    bias = head_bias(Path(source))
    if bias is not None:
        options["own"] = lambda name: name != BIAS
    model = whole(AutoModelForCausalLM.from_pretrained, source, dtype=dtype, trust_remote_code=False, **options)
    head = model.get_output_embeddings()
    if bias is not None and bias.shape != head.weight.shape[:1]:
        raise ArlError(f"{source}: tensor {BIAS} has another shape: {SOURCE_AGAIN}")
    if bias is not None and head.bias is None:
        head.bias = nn.Parameter(bias.to(head.weight))
        refuse_not_finite([(BIAS, head.bias)], str(source), SOURCE_AGAIN)
    return model


def head_bias(folder: Path) -> Tensor | None:
    """`lm_head.bias` [V] of the weights in a folder, None where they have none or there is no such folder."""
    for file in sorted(folder.glob("*.safetensors")):
        with suppress(SafetensorError, OSError), safe_open(file, "pt") as weights:  # transformers says what is wrong
            if BIAS in weights.keys():  # noqa: SIM118 - not a dict
                return weights.get_tensor(BIAS)
    return None


def whole(
    load: Callable[..., Any], source: str | Path, *, problem: str = "cannot be loaded",
    own: Callable[[str], bool] = lambda name: True, **options: Any,
) -> Any:  # fmt: skip
    """The model that `load`, a `from_pretrained`, gives, if all its tensors were read. ArlError else, in one line.

    problem: what is said of a source that is not read at all. own: whether a tensor's name is of concern.
    """
    try:
        model, report = load(source, output_loading_info=True, **options)
    except (*UNREADABLE, SafetensorError) as error:
        raise ArlError(f"{source}: {problem} ({first_line(error)})") from error
    refuse_incomplete(report, str(source), own)
    named = ((name, parameter) for name, parameter in model.named_parameters() if own(name))
    refuse_not_finite(named, str(source), SOURCE_AGAIN)
    return model


def refuse_incomplete(report: Mapping[str, Any], where: str, own: Callable[[str], bool]) -> None:
    """ArlError for a tensor that transformers has made up or left out. own: whether a tensor's name is of concern."""
    kinds: Sequence[tuple[str, Iterable[str]]] = (
        ("is missing", report.get("missing_keys", ())),
        ("is not one of the model's", report.get("unexpected_keys", ())),
        ("has another shape", (entry[0] for entry in report.get("mismatched_keys", ()))),
    )
    for problem, names in kinds:
        if odd := sorted(name for name in names if own(name)):
            more = f", and {len(odd) - 1} more" if len(odd) > 1 else ""
            raise ArlError(f"{where}: tensor {odd[0]} {problem}{more}: {SOURCE_AGAIN}")


def first_line(error: Exception) -> str:
    """What an error says, for a line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
