"""The family's own class without its LLM: the tower and the projector, run by the class's own forward.

The LLM has no layers and a table that gives zeros; the forward is stopped where the decoder would begin, and the rows
at the placeholders are the embeddings. So any family's way from features to embeddings is its own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from arl.errors import ArlError
from arl.models.speech_lm import layout
from arl.models.speech_lm.build import CHECKPOINT
from arl.models.speech_lm.memory import load
from arl.models.speech_lm.tensors import read_tensors
from arl.models.weights import AGAIN
from arl.train.finite import refuse_not_finite
from arl.train.load import UNREADABLE, first_line

if TYPE_CHECKING:
    from arl.models.speech_lm.family import SpeechLm


class DecoderReached(Exception):  # noqa: N818 - not an error
    """Carries the input embeddings [1, P, H] out of the forward."""

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__("the decoder's turn")
        self.embeddings = embeddings


class NoTable(nn.Module):
    """Zeros in place of text embeddings: ids [B, P] → [B, P, H]. An id beyond the vocabulary does no harm."""

    def __init__(self, width: int, like: Tensor) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("like", torch.empty(0, dtype=like.dtype), persistent=False)

    @property
    def weight(self) -> Tensor:
        """Where some classes look for dtype and device."""
        return self.like

    def forward(self, ids: Tensor) -> Tensor:
        return self.like.new_zeros(*ids.shape, self.width)


class Tower(nn.Module):
    """A frozen tower. It computes in the checkpoint's dtype on an accelerator, in float32 on a CPU."""

    def __init__(self, model: nn.Module, decoder: nn.Module, audio_token_id: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.audio_token_id, self.stored_dtype = model.eval(), audio_token_id, dtype
        decoder.register_forward_pre_hook(_stop, with_kwargs=True)

    def to(self, device: torch.device) -> "Tower":
        return super().to(device, torch.float32 if device.type == "cpu" else self.stored_dtype)

    @torch.inference_mode()
    def encode(self, inputs: Mapping[str, Any], seed: int) -> Tensor:
        """One clip's inputs → embeddings [T, H] in the checkpoint's dtype. seed: of towers that draw at random."""
        parameter = next(self.model.parameters())
        ready = {name: _moved(value, parameter) for name, value in inputs.items()}
        torch.manual_seed(seed)
        try:
            self.model(**ready, use_cache=False)
        except DecoderReached as reached:
            found = reached.embeddings
        else:
            raise ArlError("the forward did not come to its decoder")
        embeddings = found[0, ready["input_ids"][0] == self.audio_token_id].to(self.stored_dtype)
        if not torch.isfinite(embeddings).all():
            raise ArlError("the audio tower gave NaN or infinite embeddings")
        return embeddings.cpu()


def _stop(_module: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
    raise DecoderReached(named["inputs_embeds"] if "inputs_embeds" in named else arguments[0])


def _moved(value: Any, like: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(like.device, like.dtype) if value.is_floating_point() else value.to(like.device)


def load_tower(family: "SpeechLm", frontend: Path) -> Tower:
    """The tower of a policy's frontend, on the CPU in float32. ArlError where a weight is missing or not finite."""
    folder = frontend / CHECKPOINT
    config = family.config(folder)
    token = family.audio_token_id(config)
    without_llm(family, config)
    stored = {tensor.name: tensor for file in sorted(folder.glob("*.safetensors")) for tensor in read_tensors(file)}
    with torch.device("meta"):
        shell = family.model_class(config)
    wanted = shell.state_dict().keys()
    names, whole = (layout.class_names(family, shell, stored, merged) for merged in (False, True))
    weights = {found: load(stored[name]) for name, found in names.items() if whole[name] in wanted}
    refuse_not_finite(weights.items(), str(folder), AGAIN)
    dtypes = [tensor.dtype for tensor in weights.values() if tensor.is_floating_point()]
    try:
        model, info = family.model_class.from_pretrained(
            None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True
        )
    except UNREADABLE as error:
        raise ArlError(f"{folder}: cannot be loaded ({first_line(error)}): {AGAIN}") from error
    text = layout.llm_names(family, shell, {name: name for name in wanted}).keys()
    if lost := sorted(name for name in info["missing_keys"] - text if not name.endswith(layout.COUNTERS)):
        raise ArlError(f"{folder}: tensor {lost[0]} of the audio tower is missing: {AGAIN}")
    decoder = model.get_decoder()
    table = decoder.get_input_embeddings()
    decoder.set_input_embeddings(NoTable(table.weight.shape[1], table.weight))
    return Tower(model, decoder.get_submodule(family.captured), token, max(set(dtypes), key=dtypes.count))


def without_llm(family: "SpeechLm", config: Any) -> None:
    """Makes the LLM's part of a configuration as small as it can be, and that of other modalities."""
    text = config.get_text_config()
    text.num_hidden_layers, text.vocab_size, text.pad_token_id = 0, 1, None
    config.tie_word_embeddings = text.tie_word_embeddings = False
    for part, layers in family.unused.items():
        setattr(getattr(config, part), layers, 0)
