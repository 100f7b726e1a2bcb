"""Which tensors of a checkpoint are the LLM's, by the names that transformers' own class gives them.

The class is built without weights (on torch's meta device); its conversion rules turn the names on the disk into the
class's. Every tensor must be one of the class's, of its shape, and none may be missing: a load that throws weights away
or draws them at random is refused here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from arl.errors import ArlError
from arl.models.speech_lm.source import Source
from arl.models.speech_lm.tensors import Stored

if TYPE_CHECKING:
    from arl.models.speech_lm.family import SpeechLm

HEAD = "lm_head.weight"
TABLE = "model.embed_tokens.weight"  # the input embeddings of a plain causal LM
COUNTERS = ".num_batches_tracked"  # of a BatchNorm, not used in evaluation


@dataclass(frozen=True)
class Layout:
    """How a checkpoint is split. tensors: all of them; llm: name on the disk → name in `llm/`; config: of the plain
    causal LM; names: name on the disk → name in the family's class, of the part that the class has."""

    tensors: list[Stored]
    config: Any
    names: Mapping[str, str]
    llm: dict[str, str] = field(default_factory=dict)

    @property
    def llm_tensors(self) -> list[Stored]:
        """What `llm/` holds: each plain name once."""
        first = {plain: name for name, plain in reversed(self.llm.items())}
        return [tensor for tensor in self.tensors if first.get(self.llm.get(tensor.name, "")) == tensor.name]

    @property
    def frontend_tensors(self) -> list[Stored]:
        """Everything else."""
        return [tensor for tensor in self.tensors if tensor.name not in self.llm]


def plan(family: "SpeechLm", source: Source) -> Layout:
    """How the checkpoint is split. ArlError for missing, unexpected or ill-shaped tensors."""
    config = family.config(source.folder)
    try:
        with torch.device("meta"):
            model = family.model_class(config)
    except (ValueError, TypeError, RuntimeError, AssertionError, KeyError) as error:
        raise ArlError(f"{source.name}: config.json describes no {family.model} ({_first_line(error)})") from error
    tensors = source.tensors()
    on_disk = [tensor.name for tensor in tensors]
    names, whole = class_names(family, model, on_disk), class_names(family, model, on_disk, merged=True)
    _check_shapes(source, model, tensors, names, whole)
    llm = llm_names(family, model, names)
    text = family.text_config(config)
    text.tie_word_embeddings = _is_tied(llm, tensors)
    if text.tie_word_embeddings:
        llm = {name: TABLE if found == HEAD else found for name, found in llm.items()}
    _check_plain(source, text, tensors, llm)
    return Layout(tensors, text, names, llm)


def class_names(family: "SpeechLm", model: Any, on_disk: Iterable[str], merged: bool = False) -> dict[str, str]:
    """Name on the disk → name in the class, of those that begin with the family's prefix. merged: of the class's
    tensor that it becomes a part of, where the class has one of several (a layer's experts)."""
    short = {name: family.renamed(name) for name in on_disk if name.startswith(family.prefix)}
    return converted(model, short, merged)


def converted(model: Any, names: Mapping[str, str], merged: bool) -> dict[str, str]:
    """The values of `names` by the rules of the class."""
    rules = get_model_conversion_mapping(model)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)] if merged else []
    state = model.state_dict()
    return {
        name: rename_source_key(short, renamings, converters, model.base_model_prefix, state)[0]
        for name, short in names.items()
    }  # fmt: skip


def decoder_path(model: Any) -> str:
    """Where the LLM's decoder lies in the class: "model.language_model"."""
    decoder = model.get_decoder()
    return next(name for name, module in model.named_modules() if module is decoder)


def llm_names(family: "SpeechLm", model: Any, names: Mapping[str, str]) -> dict[str, str]:
    """Of `names` (any name → name in the class) those of the LLM: → name in the plain causal LM."""
    path = decoder_path(model)
    own = {
        name: "model" + found.removeprefix(path) for name, found in names.items()
        if found.startswith(path + ".") and not found.startswith(family.not_text)
    }  # fmt: skip
    return own | {name: found for name, found in names.items() if found.startswith("lm_head.")}


def _check_shapes(
    source: Source, model: Any, tensors: list[Stored], names: Mapping[str, str], whole: Mapping[str, str]
) -> None:
    """Every tensor is one of the class's and has its shape; none is missing."""
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for tensor in tensors:
        found = whole.get(tensor.name)
        if found is None:
            continue
        if found not in state:
            raise ArlError(f"{source.name}: tensor {tensor.name} is none of {type(model).__name__}'s")
        if found == names[tensor.name] and state[found] != tensor.shape:
            raise ArlError(f"{source.name}: tensor {tensor.name} is {list(tensor.shape)}, and config.json makes it "
                           f"{list(state[found])}")  # fmt: skip
    there = set(whole.values())
    tied = {one for one, other in model.all_tied_weights_keys.items() if other in there}
    missing = sorted(name for name in state.keys() - there - tied if not name.endswith(COUNTERS))
    if missing:
        raise ArlError(f"{source.name}: {len(missing)} tensors are missing, first {missing[0]}")


def _is_tied(llm: Mapping[str, str], tensors: list[Stored]) -> bool:
    """Whether the head is the table of input embeddings: not on the disk, or there with the same bytes."""
    heads = {plain: name for name, plain in llm.items()}
    if HEAD not in heads:
        return True
    head, table = (next(t for t in tensors if t.name == heads[plain]) for plain in (HEAD, TABLE))
    same = head.dtype == table.dtype and head.shape == table.shape
    return same and all(a == b for a, b in zip(head.blocks(), table.blocks(), strict=True))


def _check_plain(source: Source, config: Any, tensors: list[Stored], llm: Mapping[str, str]) -> None:
    """The plain causal LM has just these tensors: nothing of the LLM is dropped on the way."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        state.pop(HEAD)
    plain = {tensor.name: llm[tensor.name] for tensor in tensors if tensor.name in llm}
    whole = converted(model, plain, merged=True)
    shapes = {
        whole[tensor.name]: tensor.shape if whole[tensor.name] == plain[tensor.name] else state.get(whole[tensor.name])
        for tensor in tensors if tensor.name in plain
    }  # fmt: skip
    if odd := sorted(name for name in state.keys() | shapes.keys() if state.get(name) != shapes.get(name)):
        raise ArlError(f"{source.name}: its LLM is no plain {type(model).__name__}, first at tensor {odd[0]}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
