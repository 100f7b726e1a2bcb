"""The sizes of a decoder that memory and operations are counted from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arl.errors import ArlError

NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")


@dataclass(frozen=True)
class Shape:
    """A decoder of Qwen2's form. All sizes in units of one; `tied`: the head shares the embedding table."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    tied: bool = True

    @classmethod
    def of(cls, name: str, config: Mapping[str, Any]) -> "Shape":
        """From a config.json; ArlError where it lacks a size. Experts and attention of another form are not counted."""
        if lacking := [size for size in NEEDED if not isinstance(config.get(size), int)]:
            raise ArlError(f"{name}/config.json: no {', '.join(lacking)}: the plan counts dense decoders")
        hidden, layers, heads, intermediate, vocab = (config[size] for size in NEEDED)
        kv_heads = config.get("num_key_value_heads") or heads
        return cls(name, hidden, layers, heads, kv_heads, intermediate, vocab, bool(config.get("tie_word_embeddings")))

    @property
    def parameters_of_a_layer(self) -> int:
        kv = self.hidden * self.kv_heads // self.heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * kv + self.hidden + 2 * kv
        return attention + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def parameters(self) -> int:
        tables = self.vocab * self.hidden * (1 if self.tied else 2)
        return self.layers * self.parameters_of_a_layer + self.hidden + tables

    def words(self) -> str:
        size = f"{self.parameters / 1e9:.2f} B" if self.parameters > 1e9 else f"{self.parameters / 1e6:.1f} M"
        return f"{self.hidden} wide, {self.layers} layers, vocabulary {self.vocab}, {size} parameters"
