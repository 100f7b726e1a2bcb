"""The text tokenizer of `frontend/`, Qwen2's with upstream's own special tokens, and the speech vocabulary of `llm/`.

CosyVoice-BlankEN may come with vocab.json and merges.txt and no tokenizer.json: it is made of them.
"""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from arl.errors import ArlError
from arl.models.cosyvoice.layout import Layout

FILE = "tokenizer.json"
END_OF_TEXT = "<|endoftext|>"
SPLIT = (  # Qwen2's
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def text_tokenizer(folder: Path, layout: Layout) -> Tokenizer:
    """The tokenizer of CosyVoice-BlankEN. ArlError where it has none."""
    if (folder / FILE).is_file():
        tokenizer = Tokenizer.from_file(str(folder / FILE))
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        tokenizer = byte_level(folder)
    else:
        raise ArlError(f"{folder}: no {FILE}, and no vocab.json and merges.txt to make it of: download them")
    names = [END_OF_TEXT, *layout.specials]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    return tokenizer


def byte_level(folder: Path) -> Tokenizer:
    """Qwen2's tokenizer from vocab.json and merges.txt."""
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def speech_tokenizer(n_codes: int, rows: int) -> Tokenizer:
    """One token per row of the speech vocabulary: `<|s_17|>`, `<|end_0|>`. What is decoded of them is no text: ""."""
    words = [*(f"<|s_{code}|>" for code in range(n_codes)), *(f"<|end_{row}|>" for row in range(rows))]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[-1]))
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace(Regex(r"[\s\S]+"), "")])
    return tokenizer


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text as it is."""
    return list(tokenizer.encode(text, add_special_tokens=False).ids)
