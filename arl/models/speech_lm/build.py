"""A checkpoint → a policy folder: `llm/` is a plain causal LM, `frontend/` holds everything else.

    frontend/checkpoint/   the checkpoint's other files, and its shards without the LLM's tensors
    frontend/layout.json   each shard's header as it was, and the name in `llm/` of each of the LLM's tensors

Tensors go from file to file in blocks. The LLM is loaded once, for the probe of arl.json.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from arl.adapter import Adapter, load_adapter
from arl.errors import ArlError, UsageError
from arl.models import InitOptions
from arl.models.checkpoint import Checkpoint
from arl.models.speech_lm import layout
from arl.models.speech_lm.layout import Layout
from arl.models.speech_lm.memory import load, raw_bytes
from arl.models.speech_lm.prompt import ask_of, collapse
from arl.models.speech_lm.source import INDEX, SINGLE, Source, find, refuse_full_disk
from arl.models.speech_lm.tensors import Piece, Stored, read_header, write_tensors
from arl.models.speech_lm.tokenizer import write_tokenizer
from arl.policy import Policy, write_policy
from arl.runtime.console import note
from arl.shards.columns import DTYPES
from arl.train.load import causal_lm
from arl.train.probe import make_probe

if TYPE_CHECKING:
    from arl.models.speech_lm.family import SpeechLm

CHECKPOINT, LAYOUT = "checkpoint", "layout.json"
MEASURED_S = 20  # of silence, for the embeddings per second


def build(family: "SpeechLm", checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
    """Writes the policy. UsageError for options that mean nothing here; ArlError for a checkpoint that is not whole."""
    refuse_options(family, checkpoint, options)
    source = find(checkpoint)
    split = layout.plan(family, source)
    adapter = find_adapter(family, source, split)
    if left_out := source.left_out():
        note(f"init: {source.name}: left out, as weights in another form: {', '.join(left_out)}")
    refuse_full_disk(out, sum(tensor.size for tensor in split.tensors))
    processor = family.load_processor(source.folder)
    request = {"instruction": options.instruction, "language": options.language, "hotwords": options.hotwords}
    fields = {
        "family": family.name, "source": source.name, "revision": source.revision, "step": 0, "text": "plain",
        "request": request, "transcript": dict(family.transcript), "embedding_dim": split.config.hidden_size,
        "context": split.config.max_position_embeddings,
        "eos_token_id": end_ids(source, processor), "longest_s": family.longest_s(processor),
        **measure(family, source, processor, request),
    }  # fmt: skip
    split.config.eos_token_id = fields["eos_token_id"]

    def fill(folder: Path) -> None:
        write_llm(folder / "llm", split, adapter)
        write_tokenizer(processor.tokenizer, source.folder, folder / "llm")
        fields["frontend"] = write_frontend(folder / "frontend", source, split, adapter, request)
        model = causal_lm(folder / "llm", "auto")
        fields["probe"] = make_probe(model, fields["audio_token_id"])

    return write_policy(out, fields, fill)


def refuse_options(family: "SpeechLm", checkpoint: Checkpoint, options: InitOptions) -> None:
    """UsageError for flags that mean nothing to the family."""
    if options.llm is not None or options.stack is not None:
        raise UsageError(f"{checkpoint.source}: it has its own LLM and projector: leave out --llm and --stack")
    asked = {
        "--instruction": options.instruction is not None and not family.takes_instruction,
        "--language": options.language is not None and not family.takes_language,
        "--hotwords": options.hotwords and not family.takes_hotwords,
    }
    if refused := [flag for flag, is_refused in asked.items() if is_refused]:
        raise UsageError(f"{checkpoint.source}: the prompt of {family.name} has no place for {', '.join(refused)}")


def find_adapter(family: "SpeechLm", source: Source, split: Layout) -> Adapter | None:
    """The LoRA that recognition uses, by the names of `llm/`."""
    if family.adapter is None:
        return None
    config = family.config(source.folder)
    with torch.device("meta"):
        model = family.model_class(config)

    def named(names: Iterable[str]) -> dict[str, str]:
        return layout.llm_names(family, model, layout.class_names(family, model, names))

    return load_adapter(source.folder / family.adapter, named)


def end_ids(source: Source, processor: Any) -> int | list[int]:
    """The ids that end a transcript, as the checkpoint says first: generation_config.json, config.json, tokenizer."""
    for name in ("generation_config.json", "config.json"):
        path = source.folder / name
        fields = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for level in (fields, fields.get("thinker_config") or {}, fields.get("text_config") or {}):
            if level.get("eos_token_id") is not None:
                return _plain_ids(level["eos_token_id"])
    if processor.tokenizer.eos_token_id is None:
        raise ArlError(f"{source.name}: neither generation_config.json nor config.json says which token ends a text")
    return int(processor.tokenizer.eos_token_id)


def _plain_ids(value: int | list[int]) -> int | list[int]:
    ids = [value] if isinstance(value, int) else list(dict.fromkeys(value))
    return ids[0] if len(ids) == 1 else ids


def measure(family: "SpeechLm", source: Source, processor: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt and the rates, by asking the processor about silence. UsageError where it refuses the request."""
    rate = sample_rate(processor)
    token = family.audio_token_id(family.config(source.folder))
    ask = ask_of({}, request)
    try:
        inputs = family.inputs(processor, np.zeros(MEASURED_S * rate, np.float32), ask)
        ids = inputs["input_ids"][0].tolist()
        prompt = collapse(ids, token)
    except (ValueError, KeyError, TypeError, ArlError) as error:
        raise UsageError(f"{source.name}: its processor does not take the request: {error}") from error
    return {
        "prompt": prompt, "audio_token_id": token, "sample_rate": rate,
        "embedding_rate_hz": family.kept(family.fields(source.folder), len(ids) - len(prompt) + 1) / MEASURED_S,
    }  # fmt: skip


def sample_rate(processor: Any) -> int:
    """Of the waves that the processor takes, Hz."""
    extractor = getattr(processor, "feature_extractor", None) or processor.audio_processor
    return int(getattr(extractor, "sampling_rate", 16_000))


def write_llm(folder: Path, split: Layout, adapter: Adapter | None) -> None:
    """A plain causal LM: its shards are the checkpoint's, with the LLM's tensors alone."""
    folder.mkdir()
    by_shard: dict[str, list[Piece]] = {}
    for tensor in split.llm_tensors:
        by_shard.setdefault(tensor.file.name, []).append(llm_piece(tensor, split.llm[tensor.name], adapter))
    total = len(by_shard)
    weight_map: dict[str, str] = {}
    for number, pieces in enumerate(by_shard.values(), 1):
        name = SINGLE if total == 1 else f"model-{number:05d}-of-{total:05d}.safetensors"
        write_tensors(folder / name, pieces)
        weight_map |= {piece.name: name for piece in pieces}
    if total > 1:
        size = sum(tensor.size for tensor in split.llm_tensors)
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    write_config(folder, split)


def write_config(folder: Path, split: Layout) -> None:
    """config.json with the dtype on the disk, and a generation_config.json that says the end ids and nothing else."""
    dtypes = [tensor.dtype for tensor in split.llm_tensors]
    config = split.config
    config.dtype = DTYPES[max(set(dtypes), key=dtypes.count)][0]
    with torch.device("meta"):
        config.architectures = [type(AutoModelForCausalLM.from_config(config, trust_remote_code=False)).__name__]
    config.save_pretrained(folder)
    ends = {"eos_token_id": config.eos_token_id, "pad_token_id": config.pad_token_id, "_from_model_config": False}
    (folder / "generation_config.json").write_text(json.dumps(ends, indent=1) + "\n")


def llm_piece(tensor: Stored, plain: str, adapter: Adapter | None) -> Piece:
    """A tensor of `llm/`, with the adapter merged into it where it has one."""

    def blocks() -> Iterable[bytes]:
        if adapter is None or plain not in adapter.factors:
            return tensor.blocks()
        return [raw_bytes(adapter.merged(plain, load(tensor)))]

    return Piece(plain, tensor.dtype, tensor.shape, tensor.size, blocks)


def write_frontend(
    folder: Path, source: Source, split: Layout, adapter: Adapter | None, request: Mapping[str, Any]
) -> str:
    """Everything but the LLM; returns the digest that names the embeddings: of these files and of the request."""
    checkpoint = folder / CHECKPOINT
    checkpoint.mkdir(parents=True)
    for place in source.other_files():
        (checkpoint / place.parent).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.folder / place, checkpoint / place)
    factors = {} if adapter is None else adapter.factors
    bases = [tensor for tensor in split.llm_tensors if split.llm[tensor.name] in factors]
    shards: dict[str, list[Piece]] = {}
    for tensor in [*split.frontend_tensors, *bases]:
        piece = Piece(tensor.name, tensor.dtype, tensor.shape, tensor.size, tensor.blocks)
        shards.setdefault(tensor.file.name, []).append(piece)
    for name, pieces in shards.items():
        write_tensors(checkpoint / name, pieces)
    saved: dict[str, Any] = {"headers": {shard.name: read_header(shard) for shard in source.shards}, "llm": split.llm}
    if adapter is not None:
        saved["adapter"] = adapter.to_json(source.folder)
    (folder / LAYOUT).write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
    return _digest(folder, request)


def _digest(folder: Path, request: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(dict(request), sort_keys=True).encode())
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        digest.update(f"\0{file.relative_to(folder)}\0".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
