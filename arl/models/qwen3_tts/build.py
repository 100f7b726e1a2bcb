"""A downloaded folder → a policy: the talker as a plain Qwen3 over its codes, the rest in `frontend/`.

    frontend/checkpoint/        the other files, the codec's folder among them, and the shards without what is elsewhere
    frontend/layout.json        each shard's header as it was
    frontend/predictor.*        the code predictor, and the embedding of an exhausted text (`pad`)
    frontend/tokenizer.json     of texts

Nothing of the checkpoint is left out, so that `arl export` writes it again, bit for bit.
"""

import json
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from arl.engine.predictor import CONFIG, PAD, WEIGHTS
from arl.errors import ArlError, UsageError
from arl.models import InitOptions
from arl.models.checkpoint import Checkpoint
from arl.models.cosyvoice import tokenizer as words
from arl.models.qwen3_tts.layout import PREDICTOR, ROWS, SPEAKER, Sizes, plain_name
from arl.models.qwen3_tts.prompt import LANGUAGES, VECTORS, TextTables
from arl.models.qwen3_tts.prompt import SPEAKER as SPEAKER_VECTOR
from arl.models.speech_lm.memory import load
from arl.models.speech_lm.source import OTHER_WEIGHTS, Source, find, refuse_full_disk
from arl.models.speech_lm.tensors import Piece, Stored, read_header, write_tensors
from arl.models.speech_lm.tokenizer import write_tokenizer
from arl.models.weights import read_weights
from arl.policy import Policy, part_digest, write_policy
from arl.shards.columns import DTYPES
from arl.train.load import causal_lm
from arl.train.probe import make_probe

CHECKPOINT, LAYOUT, CODEC = "checkpoint", "layout.json", "speech_tokenizer/config.json"


def build(family: str, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
    """Writes the policy. UsageError for an option that means nothing here; ArlError for what is no such folder."""
    source = find(checkpoint)
    sizes = Sizes.read(source.folder)
    refuse_options(source, sizes, options)
    vectors = dict(vector_of(text, sizes) for text in options.voices)
    tensors = source.tensors()
    check_tensors(source, sizes, tensors)
    refuse_full_disk(out, sum(file.stat().st_size for file in source.folder.rglob("*") if file.is_file()))
    codec = json_of(source.folder / CODEC)
    fields: dict[str, Any] = {
        "family": family, "source": source.name, "task": "tts", "prompt_embeddings": True, "step": 0, "prompt": [],
        "audio_token_id": sizes.n_codes + 1, "eos_token_id": sizes.n_codes, "acoustic_first": 0,
        "acoustic_codes": sizes.n_codes, "embedding_dim": sizes.llm.hidden_size,
        "sample_rate": codec["output_sample_rate"],
        "token_rate_hz": codec["output_sample_rate"] / codec["decode_upsample_rate"],
        "request": {"instruction": options.instruction, "language": options.language},
    }  # fmt: skip

    def fill(folder: Path) -> None:
        frontend = folder / "frontend"
        write_llm(folder / "llm", sizes, tensors)
        write_frontend(frontend, source, tensors)
        write_tokenizer(text_tokenizer(source.folder), source.folder, frontend)
        write_predictor(frontend, source, sizes, tensors)
        if vectors:
            save_file(vectors, frontend / VECTORS)
        fields["frontend"] = part_digest(frontend)[:12]
        fields["predictor"] = fields["frontend"]
        fields["probe"] = make_probe(causal_lm(folder / "llm", "auto"), fields["audio_token_id"])

    return write_policy(out, fields, fill)


def refuse_options(source: Source, sizes: Sizes, options: InitOptions) -> None:
    """UsageError for flags without a meaning, a language that the checkpoint does not speak, and its base."""
    if options.llm or options.stack or options.hotwords or options.codec:
        raise UsageError(f"{source.name}: of the flags, --voice, --instruction and --language are for Qwen3-TTS")
    if (sizes.fields.get("tts_model_type") == "base") != bool(options.voices):
        raise UsageError(f"{source.name}: the base, and it alone, speaks by vectors of its speaker encoder, which arl "
                         "does not compute: --voice NAME=FILE.safetensors with a tensor speaker")  # fmt: skip
    known = sizes.talker.get("codec_language_id") or {}
    asked = options.language
    if asked not in (None, "sample") and LANGUAGES.get(str(asked), asked) not in known:
        raise UsageError(f"{source.name}: --language {asked}: it speaks {', '.join(sorted(known))}")


def vector_of(text: str, sizes: Sizes) -> tuple[str, torch.Tensor]:
    """`NAME=FILE.safetensors` → (name, vector [H]). UsageError for another form; ArlError for another tensor."""
    name, _, file = text.partition("=")
    if not name or not Path(file).is_file():
        raise UsageError(f"--voice {text}: write NAME=FILE.safetensors, with a tensor {SPEAKER_VECTOR}")
    found = read_weights(Path(file)).get(SPEAKER_VECTOR)
    if found is None or list(found.shape) != [sizes.llm.hidden_size]:
        raise ArlError(f"{file}: no tensor {SPEAKER_VECTOR} [{sizes.llm.hidden_size}], as the speaker encoder makes it")
    return name, found


def check_tensors(source: Source, sizes: Sizes, tensors: Sequence[Stored]) -> None:
    """ArlError for the first tensor that is missing, too many, or of another shape or type than the rest."""
    wanted, found = sizes.shapes() | sizes.text_shapes(), {tensor.name: tensor for tensor in tensors}
    for name in sorted(wanted.keys() - found.keys()):
        raise ArlError(f"{source.name}: tensor {name} is missing")
    for name, tensor in found.items():
        if name.startswith(SPEAKER):
            continue
        if name not in wanted:
            raise ArlError(f"{source.name}: tensor {name} is none of Qwen3-TTS's")
        if list(tensor.shape) != wanted[name]:
            raise ArlError(f"{source.name}: tensor {name} is {list(tensor.shape)}, not {wanted[name]}")
        if tensor.dtype != tensors[0].dtype:
            raise ArlError(f"{source.name}: tensor {name} is {tensor.dtype}, and {tensors[0].name} {tensors[0].dtype}")


def json_of(file: Path) -> dict[str, Any]:
    """A JSON file of the checkpoint. ArlError where it is missing or damaged."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ArlError(f"{file}: cannot be read ({error}): download the whole folder") from error


def text_tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # of any tokenizer
        raise ArlError(f"{folder}: no tokenizer that loads ({str(error).splitlines()[0]})") from error


def write_llm(folder: Path, sizes: Sizes, tensors: Sequence[Stored]) -> None:
    """The talker as a plain causal LM: layers as they are; of both tables the rows of the codes and of the end."""
    folder.mkdir()
    pieces = []
    for tensor in tensors:
        name = plain_name(tensor.name)
        if name is None:
            continue
        if tensor.name in ROWS:
            pieces.append(rows_piece(name, tensor, sizes.rows))
        else:
            pieces.append(Piece(name, tensor.dtype, tensor.shape, tensor.size, tensor.blocks))
    write_tensors(folder / "model.safetensors", pieces)
    sizes.llm.architectures, sizes.llm.dtype = ["Qwen3ForCausalLM"], getattr(torch, DTYPES[tensors[0].dtype][0])
    sizes.llm.save_pretrained(folder)
    words.speech_tokenizer(sizes.n_codes, 1).save(str(folder / words.FILE))


def rows_piece(name: str, table: Stored, rows: Sequence[int]) -> Piece:
    """Some rows of a table."""
    width = table.size // table.shape[0]
    data = b"".join(table.blocks())
    kept = b"".join(data[row * width : (row + 1) * width] for row in rows)
    return Piece(name, table.dtype, [len(rows), *table.shape[1:]], len(kept), lambda: [kept])


def write_frontend(folder: Path, source: Source, tensors: Sequence[Stored]) -> None:
    """The checkpoint's other files; the shards without the LM's layers and the predictor."""
    place = folder / CHECKPOINT
    for file in other_files(source):
        target = place / file.relative_to(source.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for shard in source.shards:
        kept = [t for t in tensors if t.file == shard and is_kept(t.name)]
        if kept:
            write_tensors(place / shard.name, [Piece(t.name, t.dtype, t.shape, t.size, t.blocks) for t in kept])
    headers = {shard.name: read_header(shard) for shard in source.shards}
    (folder / LAYOUT).write_text(json.dumps({"headers": headers}) + "\n", encoding="utf-8")


def is_kept(name: str) -> bool:
    """Whether a tensor stays in the shards of the frontend. The tables do: their other rows are of prompts."""
    return name in ROWS or not (plain_name(name) or name.startswith(PREDICTOR))


def other_files(source: Source) -> list[Path]:
    """All files but the shards, other forms of the same weights, and hidden ones."""
    shards = set(source.shards)
    found = sorted(file for file in source.folder.rglob("*") if file.is_file() and file not in shards)
    inside = [(file, file.relative_to(source.folder)) for file in found]
    return [
        file
        for file, place in inside
        if not any(part.startswith(".") for part in place.parts[:-1])
        and not (len(place.parts) == 1 and any(fnmatch(place.name, pattern) for pattern in OTHER_WEIGHTS))
    ]


def write_predictor(folder: Path, source: Source, sizes: Sizes, tensors: Sequence[Stored]) -> None:
    """The code predictor for the engine and, of it, the embeddings for the trainer."""
    file = source.folder / "generation_config.json"
    generation = json_of(file) if file.is_file() else {}
    (folder / CONFIG).write_text(json.dumps(sizes.predictor(generation), indent=1, sort_keys=True) + "\n")
    weights = {t.name.removeprefix(PREDICTOR): load(t) for t in tensors if t.name.startswith(PREDICTOR)}
    pad = TextTables(folder / CHECKPOINT).text([sizes.fields["tts_pad_token_id"]])[0]
    save_file(weights | {PAD: pad.contiguous()}, folder / WEIGHTS)
