"""cosyvoice2.yaml read as plain data: its tags name classes and functions, and none of them is built or called.

recipe = read_recipe(folder / "cosyvoice2.yaml"); recipe["llm"]["speech_token_size"]        # 6561
"""

import re
from pathlib import Path
from typing import Any

import yaml

from arl.errors import ArlError

CLASS = "!"  # the key of a mapping's tag: {"!": "cosyvoice.llm.llm.Qwen2LM", …}
REFERENCE = re.compile(r"<(\w+)>")


class _Plain(yaml.SafeLoader):
    """Makes dicts, lists and scalars, whatever the tags are."""


def _untagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {CLASS: suffix.removeprefix("new:"), **loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Plain.add_multi_constructor("!", _untagged)


def read_recipe(path: Path) -> dict[str, Any]:
    """The file's mapping, a `!ref <name>` to a scalar of the top replaced by it. ArlError where it is none."""
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=_Plain)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ArlError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(found, dict):
        raise ArlError(f"{path}: not a recipe of CosyVoice")
    return {name: _resolved(value, found) for name, value in found.items()}


def _resolved(value: Any, top: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _resolved(inner, top) for name, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, top) for inner in value]
    name = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    target = top.get(name[1]) if name else None
    return value if isinstance(target, dict | list | None) else target
