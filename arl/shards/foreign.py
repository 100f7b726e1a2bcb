"""Reading WebDataset tars that others made: no end marker, folders in names, compression; still safe.

Members are grouped into samples by the webdataset library. Before that, every member is looked at: links, devices,
paths that lead out, pickles, and a tar that was cut, also at a member boundary, are errors, which webdataset itself
passes over. What it drops is dropped here too: files without an extension and hidden files. Only `arl data` uses
this; importing the library costs seconds because it imports torch.

    for sample in read_foreign(Path("train-000000.tar.gz")): ...
"""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.names import content_problem, holds_pickle
from arl.shards.paths import spooled
from arl.shards.reader import Sample
from arl.shards.tar import BLOCK, CHUNK, KINDS


def read_foreign(path: Path) -> Iterator[Sample]:
    """The samples of a WebDataset tar, plain or compressed; Path("-") is standard input.

    Keys are made legal (`legal_key`), and two may become equal by it; extensions lower case; offsets are empty. Raises
    ArlError naming the file and the member for a cut or hostile tar, for a key that comes back later, and for a member
    that comes twice.
    """
    from webdataset.handlers import reraise_exception
    from webdataset.tariterators import group_by_keys

    seen: set[str] = set()
    with spooled([Path(path)]) as (file,):
        try:
            for found in group_by_keys(_files(file, Path(path)), handler=reraise_exception):
                own = found.pop("__key__")
                if own in seen:
                    problem = "comes twice, or its members are not adjacent; `tar --sort=name` puts them together"
                    raise ArlError(f"{path}: sample {own!r} {problem}")
                seen.add(own)
                key = legal_key(own)
                members = {name: data for name, data in found.items() if not name.startswith("__")}
                yield Sample(key, members, {}, Path(path))
        except ValueError as error:  # a duplicate member, in the library's words
            raise ArlError(f"{path}: {str(error.args[0]).partition(' dict_keys')[0]}") from error


def legal_key(key: str) -> str:
    """A key of ours for a foreign one: folders, dots and what cannot be printed become "_" (`a/b.c` → `a_b_c`)."""
    plain = "".join("_" if char in "/.\\" or not char.isprintable() else char for char in key)
    return f"k{plain}" if plain.startswith("__") else plain


def _files(path: Path, name: Path) -> Iterator[dict[str, Any]]:
    """One dict a regular file, as webdataset's own tar iterator yields them. name: the path as the user gave it."""
    try:
        with tarfile.open(path, "r:*") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # or memory grows with the tar; webdataset does it too
                _refuse(member, name)
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is None or Path(member.name).name.startswith("."):
                    continue
                data = stream.read()
                _, _, extension = Path(member.name).name.partition(".")
                if problem := content_problem(extension.lower(), data):
                    raise ArlError(f"{name}: member {member.name!r}: {problem}")
                yield {"fname": member.name.removeprefix("./"), "data": data, "__url__": str(name)}
            _check_closed(tar, name)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, RecursionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ArlError(f"{name}: not a whole tar ({reason}); copy it again") from error
    except OSError as error:
        raise ArlError(f"{name}: cannot be read ({error.strerror or error})") from error


def _refuse(member: tarfile.TarInfo, path: Path) -> None:
    where = f"{path}: member {member.name!r}"
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts:
        raise ArlError(f"{where} leads out of the tar; do not use this file")
    if member.size < 0:  # tarfile would go back and read the same members again, for ever
        raise ArlError(f"{where} has a negative size; do not use this file")
    if not member.isreg() and not member.isdir() or member.issparse():
        kind = KINDS.get(member.type, "no plain file")
        raise ArlError(f"{where} is {kind}; pack plain files only (`tar --dereference`)")
    extension = parts[-1].partition(".")[2]
    if member.isreg() and holds_pickle(extension):
        raise ArlError(f"{where}: a .{extension} member can hold pickled code, which arl never reads; leave it out")


def _check_closed(tar: tarfile.TarFile, path: Path) -> None:
    """tarfile takes a missing or broken header for the end: a finished tar has a zero block there, then only zeros.

    Reading on also has a compressed file's checksum compared.
    """
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(BLOCK)
    if block != bytes(BLOCK):
        what = "damaged" if len(block) == BLOCK else "cut"
        raise ArlError(f"{path}: {what} after its last readable member, at byte {tar.offset}; copy it again")
    while rest := tar.fileobj.read(CHUNK):
        if rest.strip(b"\0"):
            raise ArlError(f"{path}: data after the end of the tar: two tars in one file? Import them one by one")
