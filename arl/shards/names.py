"""What a member of a shard may be called: `<key>.<extension>`, and which kinds are refused.

The rules are narrower than tar's, so that a name means the same to us, to webdataset and to a file system:
a key has no dot (webdataset splits at the first one) and no slash, an extension is lower case (webdataset
lowers it). Formats that can hold pickled objects are refused by name, or for `.npy` by their header:
a shard is untrusted input, and loading a pickle runs its code.

    split_name("utt-0001.emb.safetensors")     # ("utt-0001", "emb.safetensors")
"""

import re

EXTENSION = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*")
PICKLES = frozenset({"pkl", "pickle", "pyd", "pt", "pth", "ckpt", "joblib", "dill", "npz"})
COMPRESSED = frozenset({"gz", "bz2", "xz", "zst", "lz4"})
MAX_NAME = 1024  # bytes of a key, and of an extension
RESERVED = frozenset({"key"})  # `arl cat --json` prints the sample's key under this name
OBJECT_ARRAY = re.compile(rb"'[|<>=]?O\d*'")


def split_name(name: str) -> tuple[str, str]:
    """(key, extension) of a member name, split at the first dot; the extension is "" when there is no dot."""
    key, _, extension = name.partition(".")
    return key, extension


def key_problem(key: str) -> str | None:
    """Why `key` cannot be a sample's key, or None when it can."""
    if not key:
        return "the key is empty"
    if "." in key or "/" in key or "\\" in key:
        return f"the key {key!r} holds a dot, a slash or a backslash"
    if key.startswith("__"):
        return f"the key {key!r} starts with '__', which WebDataset keeps for itself"
    if len(key.encode(errors="replace")) > MAX_NAME:
        return f"the key {key[:20]!r}... is longer than {MAX_NAME} bytes"
    if not key.isprintable():
        return f"the key {key!r} holds a character that cannot be printed"
    return None


def extension_problem(extension: str) -> str | None:
    """Why `extension` (without its leading dot) cannot name a member, or None when it can."""
    if holds_pickle(extension):
        return f"a .{extension} member can hold pickled code, which arl never reads: use .safetensors, .npy or .json"
    if not EXTENSION.fullmatch(extension) or extension in RESERVED or len(extension) > MAX_NAME:
        return f"{extension!r} is no member extension: lower-case letters, digits, '-', '_', parts joined by dots"
    return None


def holds_pickle(extension: str) -> bool:
    """Whether the format that the extension names is, or may hold, a pickle."""
    parts = extension.lower().split(".")
    if len(parts) > 1 and parts[-1] in COMPRESSED:
        parts.pop()
    return parts[-1] in PICKLES


def content_problem(extension: str, data: bytes) -> str | None:
    """Why the bytes of a member are refused: a `.npy` array of Python objects is a pickle inside."""
    if extension.rpartition(".")[2] == "npy" and OBJECT_ARRAY.search(data[: data.find(b"\n") + 1 or 65536]):
        return "a .npy array of Python objects holds pickled code, which arl never reads: save numbers"
    return None
