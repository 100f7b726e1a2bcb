"""Speech that comes as Debian packages, on any system: fetched, checked against a known hash, unpacked, cached.

    ARL_DEBIAN=http://…/debian arl data --asterisk -o data/test     # once; then from $ARL_CACHE/debian

A package is fetched by apt-get, without root and with lists of our own where the system's do not help; or from the
mirror that ARL_DEBIAN names, by plain HTTP(S): the hash says that it is the right file, wherever it comes from. A .deb
is opened here (deb(5): an `ar` archive with a tar in it), so no dpkg is needed. Nothing in a package is ever run.
"""

import fcntl
import io
import lzma
import os
import shutil
import tarfile
from collections.abc import Collection
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

from arl.errors import ArlError
from arl.runtime.packages import atomic, cache_dir, failure, run, sha256

MIRROR = "ARL_DEBIAN"
INDEX = "dists/bookworm/main/binary-all/Packages.xz"  # Debian 12: stanzas with Filename and SHA256
TIMEOUT_S = 60
AR_MAGIC = b"!<arch>\n"
AR_HEADER, AR_NAME, AR_SIZE = 60, slice(0, 16), slice(48, 58)  # bytes; a member's content is padded to an even size


def debian(name: str, sha256s: str | tuple[str, ...]) -> Path:
    """Folder with the unpacked files of Debian package `name` (so `folder/usr/share/...`).

    sha256s: the accepted hash(es) of the .deb file. A .deb of that hash that somebody has put into
    `<cache>/debian/` is used without asking a registry. Raises ArlError when it cannot be fetched or differs.
    """
    accepted = (sha256s,) if isinstance(sha256s, str) else sha256s
    store = cache_dir() / "debian"
    for digest in accepted:
        if (done := store / f"{name}-{digest[:12]}").is_dir():
            return done
    store.mkdir(exist_ok=True)

    def fill(folder: Path) -> Path:
        file = next((f for f in sorted(store.glob(f"{name}_*.deb")) if sha256(f) in accepted), None)
        file = file or fetched(name, accepted, folder)
        if (digest := sha256(file)) not in accepted:
            raise ArlError(
                f"{file.name}: sha256 {digest} is not one this version of arl knows; put a .deb with "
                f"{' or '.join(accepted)} into {store}"
            )
        unpack(file, folder / "root")
        return store / f"{name}-{digest[:12]}"

    return atomic(store, fill)


def fetched(name: str, sha256s: Collection[str], folder: Path) -> Path:
    """The .deb, in `folder`: from the mirror that is named, else by apt-get."""
    if mirror := os.environ.get(MIRROR):
        return _from_mirror(mirror.rstrip("/") + "/", name, sha256s, folder)
    if not shutil.which("apt-get"):
        raise ArlError(
            f"Debian package {name} is needed, and apt-get is not installed here: set {MIRROR} to the address of a "
            f"Debian mirror (the folder with dists/ and pool/), or put the .deb into {cache_dir() / 'debian'}"
        )
    with (cache_dir() / "debian" / ".lock").open("w") as lock:  # apt-get refuses to run twice on one set of lists
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _by_apt(name, folder)


def _from_mirror(mirror: str, name: str, sha256s: Collection[str], folder: Path) -> Path:
    """The file of that hash, by the mirror's own index."""
    try:
        index = lzma.decompress(_read(mirror + INDEX)).decode(errors="replace")
    except lzma.LZMAError as error:
        raise ArlError(f"{MIRROR}={mirror}: {INDEX} there is no Debian index: {error}") from error
    wanted = {f"SHA256: {digest}" for digest in sha256s}
    for stanza in index.split("\n\n"):
        lines = stanza.splitlines()
        if wanted.intersection(lines):
            path = next(line.removeprefix("Filename: ") for line in lines if line.startswith("Filename: "))
            file = folder / Path(path).name
            file.write_bytes(_read(urljoin(mirror, path)))
            return file
    raise ArlError(f"{MIRROR}={mirror}: no package {name} with sha256 {' or '.join(sha256s)} in {INDEX}")


def _read(address: str) -> bytes:
    """What is at an address. http.client's own errors are no OSError."""
    try:
        with urlopen(address, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read()
            return content
    except (OSError, ValueError, HTTPException) as error:
        raise ArlError(f"{address}: cannot be fetched, as {MIRROR} says it should: {error}") from error


def _by_apt(name: str, folder: Path) -> Path:
    """By the system's package lists if they know it, else by lists of our own."""
    downloaded = folder / "download"
    downloaded.mkdir()
    ours = _apt_configuration(cache_dir() / "apt")
    for attempt in (["apt-get", "-qq"], ["apt-get", "-qq", "-c", str(ours)]):
        if "-c" in attempt:
            run([*attempt, "update"], f"Debian package {name} is needed and apt-get update failed (offline?)")
        failed = failure([*attempt, "download", name], downloaded)
        files = sorted(downloaded.glob("*.deb"))
        if not failed and len(files) == 1:
            return files[0]
    raise ArlError(
        f"Debian package {name} cannot be fetched by apt-get ({failed or 'no file'}): it is in Debian 12 "
        f"main; set {MIRROR} to the address of a mirror of that, or put the .deb into {cache_dir() / 'debian'}"
    )


def _apt_configuration(state: Path) -> Path:
    """An apt configuration file whose lists, cache and locks lie under `state`, so that no root is needed."""
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    lines = [
        f'Dir::State "{state}";',
        f'Dir::State::lists "{state}/lists";',
        f'Dir::State::status "{state}/status";',
        f'Dir::Cache "{state}";',
        f'Dir::Cache::archives "{state}/archives";',
        'APT::Sandbox::User "root";',
        'Acquire::Languages "none";',
        # a system's own hooks after an update want root and are none of our business
        "#clear APT::Update::Pre-Invoke;",
        "#clear APT::Update::Post-Invoke;",
        "#clear APT::Update::Post-Invoke-Success;",
    ]
    file = state / "apt.conf"
    file.write_text("\n".join(lines) + "\n")
    return file


def unpack(deb: Path, into: Path) -> None:
    """Write the package's regular files under `into`, which is made. Links and devices are left out.

    Raises ArlError for what is no Debian package, or has a file whose name leads out of it.
    """
    into.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(_data(deb.read_bytes()))) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    target = into / _inside(member.name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content.read())
    except (ValueError, EOFError, OSError, tarfile.TarError, lzma.LZMAError) as error:
        raise ArlError(f"{deb.name}: cannot be unpacked: {error}") from error


def _data(deb: bytes) -> bytes:
    """The tar in a .deb, compressed as it is."""
    if not deb.startswith(AR_MAGIC):
        raise ValueError("no `ar` archive")
    at = len(AR_MAGIC)
    while len(header := deb[at : at + AR_HEADER]) == AR_HEADER:
        size = int(header[AR_SIZE])
        at += AR_HEADER
        if not 0 <= size <= len(deb) - at:
            raise ValueError("a member is longer than the file")
        if header[AR_NAME].startswith(b"data.tar"):
            return deb[at : at + size]
        at += size + size % 2
    raise ValueError("no data.tar in it")


def _inside(name: str) -> str:
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{name!r} leads out of the package")
    return name
