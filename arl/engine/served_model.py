"""What the engine must know of a checkpoint, from its config and safetensors headers, each read once.

SGLang reports success for unknown tensor names, dies of a wrong shape, and never reads a new config, so all three are
compared before it loads another checkpoint. Left out: the values (the parity probe of `arl sync` checks those).
No torch.

    model = ServedModel.of(policy); model.check_same(started_with)
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from arl.engine.architectures import sglang_module
from arl.engine.longest import longest_exact, rope_of
from arl.engine.sglang_models import HEAD_BIAS, PREDICTOR, our_name
from arl.errors import ArlError
from arl.policy import Policy

STRUCTURE_FILE = "weights.json"  # in the state folder: the structure of the model that the engine was started with
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# What changes the numbers without changing a shape. Writers leave some of it out, so only common keys count.
COMPARED = (
    "architectures", "attention_multiplier", "dtype", "embedding_multiplier", "final_logit_softcapping", "head_dim",
    "hidden_act", "layer_types", "logits_scaling", "num_attention_heads", "num_key_value_heads",
    "original_max_position_embeddings", "partial_rotary_factor", "residual_multiplier", "rms_norm_eps",
    "rope_parameters", "rope_scaling", "rope_theta", "sliding_window", "tie_word_embeddings", "use_sliding_window",
)  # fmt: skip
Structure = dict[str, Any]  # {"tensors": {name: shape}, "config": {..}}


@dataclass(frozen=True)
class ServedModel:
    """A causal LM for the engine: its folder and the version to stamp on it. Files are read when first needed.

    adapter_dir: of a policy that is an adapter on the weights in its folder, whose names, shapes and dtypes it keeps.
    base_version: of the weights alone. predictor_dir: of a policy whose frames have other codes (predictor.py);
    predictor: the digest of what samples them.
    """

    llm_dir: Path
    version: str
    adapter_dir: Path | None = None
    base_version: str = ""
    predictor_dir: Path | None = None
    predictor: str = ""

    @classmethod
    def of(cls, policy: Policy) -> "ServedModel":
        predictor = policy.predictor_dir, str(policy.fields.get("predictor", ""))
        return cls(policy.llm_dir, policy.version, policy.adapter_dir, policy.base_version, *predictor)

    @property
    def file_version(self) -> str:
        """The version of the weights as they lie in the folder."""
        return self.base_version or self.version

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json. ArlError when it is missing or not JSON."""
        path = self.llm_dir / "config.json"
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ArlError(f"{path}: {error}; a policy's llm/ folder has one") from error

    @property
    def dtype(self) -> str:
        """float32, bfloat16 or float16: the engine computes in what the trainer saves."""
        dtype = str(self.config.get("dtype") or self.config.get("torch_dtype") or "").removeprefix("torch.")
        if dtype not in DTYPE_BYTES:
            names = ", ".join(DTYPE_BYTES)
            raise ArlError(f"{self.llm_dir}/config.json: dtype {dtype!r} is none of {names}; set it")
        return dtype

    @property
    def architecture(self) -> str:
        """Our class that serves it."""
        return our_name(self.base_architecture)

    @property
    def base_architecture(self) -> str:
        """SGLang's class below it. ArlError where there is none, or where its attention is not to be had."""
        (name, *_) = self.config.get("architectures") or [""]
        if not name.endswith("ForCausalLM") or sglang_module(name) is None:
            raise ArlError(
                f"{self.llm_dir}/config.json: the engine serves the ...ForCausalLM classes of SGLang, "
                f"Qwen2ForCausalLM and LlamaForCausalLM for instance; it has no {name!r}"
            )
        if self.config.get("attn_logit_softcapping"):
            raise ArlError(f"{self.llm_dir}/config.json: attn_logit_softcapping: no decoder with it is served")
        return name

    @property
    def overrides(self) -> dict[str, Any]:
        """What SGLang is told beside config.json: our class, and what its classes read elsewhere or do not know."""
        told: dict[str, Any] = {"architectures": [self.architecture]}
        if (part := rope_of(self.config).get("partial_rotary_factor")) is not None:
            told["partial_rotary_factor"] = part  # transformers writes it with the rope, SGLang reads it beside it
        if "lm_head.bias" in self.structure["tensors"]:
            told[HEAD_BIAS] = True
        if self.predictor_dir is not None:
            told[PREDICTOR] = str(self.predictor_dir.absolute())
        return told

    @property
    def longest(self) -> int | None:
        """The longest sequence, prompt and response, that the engine computes as transformers does; None: any."""
        return longest_exact(self.config)

    @property
    def cache_bytes_per_token(self) -> int:
        """Bytes of keys and values of one position in all layers."""
        heads = self.config["num_attention_heads"]
        width = self.config.get("head_dim") or self.config["hidden_size"] // heads
        key_heads = self.config.get("num_key_value_heads") or heads
        return 2 * self.config["num_hidden_layers"] * key_heads * width * DTYPE_BYTES[self.dtype]

    @cached_property
    def structure(self) -> Structure:
        """Names and shapes of the tensors, without a tied `lm_head.weight`, and the settings that are compared.

        ArlError: no weights, or a broken header.
        """
        files = sorted(self.llm_dir.glob("*.safetensors"))
        if not files:
            raise ArlError(f"{self.llm_dir}: no *.safetensors weights; give a policy's llm/ folder")
        shapes: dict[str, list[int]] = {}
        for file in files:
            shapes |= {name: entry["shape"] for name, entry in _header(file).items() if name != "__metadata__"}
        if self.config.get("tie_word_embeddings"):
            shapes.pop("lm_head.weight", None)  # some writers save the tied copy, some do not
        compared = {key: self.config[key] for key in COMPARED if key in self.config}
        return {"tensors": shapes, "config": compared | ({"predictor": self.predictor} if self.predictor else {})}

    @property
    def linear_layers(self) -> list[str]:
        """Last parts of the names of the matrices in the decoder's blocks: "q_proj", …"""
        tensors = self.structure["tensors"].items()
        names = {name.split(".")[-2] for name, shape in tensors if name.endswith(".weight") and len(shape) == 2}
        return sorted(names - {"embed_tokens", "lm_head"})

    def check_same(self, served: Structure) -> None:
        """ArlError naming the first tensor or setting in which this model differs from what the engine serves."""
        ours, theirs = self.structure["tensors"], served["tensors"]
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise self._other(f"tensor {name}", _shape(ours.get(name)), _shape(theirs.get(name)))
        ours, theirs = self.structure["config"], served["config"]
        for key in sorted(ours.keys() & theirs.keys()):
            if ours[key] != theirs[key]:
                raise self._other(f"config.json's {key}", repr(ours[key]), repr(theirs[key]))

    def _other(self, what: str, here: str, there: str) -> ArlError:
        return ArlError(
            f"{self.llm_dir}: {what} is {here}, the engine serves {there} and keeps its weights; "
            "to serve another model: arl engine stop, then start"
        )


def _shape(shape: list[int] | None) -> str:
    return "absent" if shape is None else str(shape)


def _header(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > 100_000_000:  # safetensors' own limit
                raise ValueError("header too long")
            header = json.loads(stream.read(size))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if file.stat().st_size != 8 + size + max(ends, default=0):
            raise ValueError("its size is not what its header says")
        return header
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArlError(f"{file}: not a whole safetensors file ({error}); copy it again") from error
