"""Parts → a synthesis policy's folder, and a policy → its small form for shipping and back.

The folder is as every policy's (arl/policy.py); its `frontend/` has the speech tokenizer (codec.*), the voices
(voices.*), and the decoder's files (decoder.py). Left out: the training of the parts (examples/tts/).
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from arl.errors import ArlError
from arl.models import Dtype
from arl.models.qwen2_flow import vocabulary
from arl.models.qwen2_flow.mel import SAMPLE_RATE, TOKEN_RATE_HZ
from arl.models.qwen2_flow.prompts import LONGEST
from arl.models.weights import read_weights
from arl.policy import Policy, link_tree, write_policy
from arl.train.load import causal_lm
from arl.train.probe import make_probe

NAME = "qwen2-flow"


def make_tokenizer(n_codes: int) -> PreTrainedTokenizerFast:
    """One token per character; a code is the special token `<c17>`, which decoding leaves out."""
    codes = [f"<c{number}>" for number in range(n_codes)]
    words = [*vocabulary.SYMBOLS, *codes]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([*vocabulary.SPECIALS, *codes])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def new_llm(shape: str, n_codes: int, seed: int) -> Qwen2ForCausalLM:
    """A fresh float32 Qwen2 of `WIDTHxLAYERS` over characters and codes. ArlError for another shape."""
    try:
        width, layers = (int(part) for part in shape.split("x"))
        if width < 64 or width % 64 or layers < 1:
            raise ValueError
    except ValueError as error:
        raise ArlError(f"new:{shape}: give new:WIDTHxLAYERS with a width that is a multiple of 64") from error
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=vocabulary.ACOUSTIC_FIRST + n_codes, hidden_size=width, intermediate_size=3 * width,
        num_hidden_layers=layers, num_attention_heads=width // 64, num_key_value_heads=max(1, width // 128),
        max_position_embeddings=4096, tie_word_embeddings=True, bos_token_id=vocabulary.START,
        eos_token_id=vocabulary.STOP, pad_token_id=vocabulary.PAD,
    ))  # fmt: skip


def write(out: Path, model: Any, n_codes: int, fill_frontend: Callable[[Path], None], **fields: Any) -> Policy:
    """Writes a policy folder at step 0; fill_frontend(folder) makes `frontend/`, the voices at least."""

    def fill(folder: Path) -> None:
        model.save_pretrained(folder / "llm")
        make_tokenizer(n_codes).save_pretrained(folder / "llm")
        fill_frontend(folder / "frontend")
        made["frontend"] = files_digest(folder / "frontend")

    made = {
        "longest_per_character": LONGEST, **fields, "family": NAME, "task": "tts", "step": 0, "prompt": [],
        "audio_token_id": vocabulary.AUDIO, "eos_token_id": vocabulary.STOP,
        "acoustic_first": vocabulary.ACOUSTIC_FIRST, "acoustic_codes": n_codes, "token_rate_hz": TOKEN_RATE_HZ,
        "sample_rate": SAMPLE_RATE, "embedding_dim": model.config.hidden_size,
        "probe": make_probe(model, vocabulary.AUDIO),
    }  # fmt: skip
    return write_policy(out, made, fill)


def restore(slim: Policy, out: Path) -> Policy:
    """A whole float32 policy from a slim folder."""
    slim.verify()
    model = causal_lm(slim.llm_dir, torch.float32)
    kept = {name: value for name, value in slim.fields.items() if name not in ("made", "version", "frontend")}

    def fill(folder: Path) -> None:
        copy_tensors(slim.frontend_dir, folder, torch.float32)

    return write(out, model, slim.given("acoustic_codes"), fill, **kept)


def export_slim(policy: Policy, out: Path, dtype: Dtype) -> Policy:
    """Writes the policy with its weights in `dtype`."""
    model = causal_lm(policy.llm_dir, dtype)

    def fill(folder: Path) -> None:
        model.save_pretrained(folder / "llm")
        make_tokenizer(policy.given("acoustic_codes")).save_pretrained(folder / "llm")
        copy_tensors(policy.frontend_dir, folder / "frontend", getattr(torch, dtype))

    kept = {name: value for name, value in policy.fields.items() if name not in ("probe", "frontend", "made")}
    return write_policy(out, kept, fill)


def copy_tensors(source: Path, target: Path, dtype: torch.dtype) -> None:
    """Copies a frontend; floating-point tensors become `dtype`, but those of the voices."""
    link_tree(source, target)
    for file in sorted(target.glob("*.safetensors")):
        if file.name == "voices.safetensors":
            continue
        tensors = read_weights(file)
        changed = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
        file.unlink()  # a hard link to the source
        save_file(changed, file)


def files_digest(folder: Path) -> str:
    """12 hex digits over the names and bytes of a folder's files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
