"""A plain tokenizer for `llm/`: tokenizer.json and a tokenizer_config.json that names no processor and no code.

The engine hangs at its start where tokenizer_config.json names a `processor_class`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers.integrations.mistral import convert_tekken_tokenizer

from arl.errors import ArlError

FILE, CONFIG, TEKKEN = "tokenizer.json", "tokenizer_config.json", "tekken.json"
FOREIGN = "processor_class", "auto_map", "tokenizer_file", "name_or_path"


def write_tokenizer(tokenizer: Any, source: Path, folder: Path) -> None:
    """tokenizer: the processor's; made into tokenizer.json where the checkpoint has only vocab.json or tekken.json."""
    if (source / FILE).is_file():
        shutil.copyfile(source / FILE, folder / FILE)
    else:
        _fast(tokenizer, source).save(str(folder / FILE))
    if (source / CONFIG).is_file():
        shutil.copyfile(source / CONFIG, folder / CONFIG)
    make_plain(folder)


def make_plain(folder: Path) -> None:
    """Takes out of tokenizer_config.json what names a processor, code or another place."""
    path = folder / CONFIG
    fields = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept = {name: value for name, value in fields.items() if name not in FOREIGN}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def _fast(tokenizer: Any, source: Path) -> Any:
    """The `tokenizers` form of a tokenizer."""
    if (source / TEKKEN).is_file():
        return convert_tekken_tokenizer(str(source / TEKKEN)).backend_tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ArlError(f"{source}: no {FILE}, and {type(tokenizer).__name__} has none to make it of")
    return backend
