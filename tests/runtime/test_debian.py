"""Debian packages: opened as dpkg-deb opens them, fetched by apt-get (a small script) or from a mirror over HTTP."""

import functools
import hashlib
import http.server
import io
import lzma
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.errors import ArlError
from arl.runtime.debian import INDEX, debian, unpack
from tests.runtime.clients import program

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
CONTROL = "Package: toy\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: toy\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ARL_DEBIAN", raising=False)
    return tmp_path / "cache"


def tar(names: list[str]) -> bytes:
    """Files of these names; one that ends in / is a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as made:
        for name in names:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            content = b"" if name.endswith("/") else f"content of {name}".encode()
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def ar(**members: bytes) -> bytes:
    """deb(5): each member has a header of 60 characters, and begins at an even place."""
    made = b"!<arch>\n"
    for name, content in members.items():
        header = f"{name.replace('_', '.'):<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
        made += header.encode() + content + b"\n" * (len(content) % 2)
    return made


def toy(names: list[str]) -> bytes:
    return ar(debian_binary=b"2.0\n", control_tar_xz=tar(["./control"]), data_tar_xz=tar(names))


@pytest.fixture
def package(tmp_path: Path) -> tuple[Path, str]:
    """A .deb with one file, and its hash."""
    path = tmp_path / "toy_1_all.deb"
    path.write_bytes(toy(["./", "./usr/", "./usr/file"]))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


CONTENT = "content of ./usr/file"

# ---- opening ------------------------------------------------------------------------------------------------


@needs_dpkg
@pytest.mark.parametrize("compression", ["xz", "gzip", "none"])
def test_a_package_has_the_files_that_dpkg_deb_finds(tmp_path, compression):
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(CONTROL)
    for name, content in {
        "usr/share/a": b"odd",
        "usr/share/a name that has " + "many letters " * 9: b"",
        "b": b"22",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "usr" / "link").symlink_to("share/a")
    deb = tmp_path / "toy.deb"
    subprocess.run(["dpkg-deb", f"-Z{compression}", "--build", root, deb], check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", deb, tmp_path / "theirs"], check=True)
    unpack(deb, tmp_path / "ours")
    assert files(tmp_path / "ours") == files(tmp_path / "theirs") and len(files(tmp_path / "ours")) == 3
    assert not (tmp_path / "ours" / "usr" / "link").is_symlink()


def files(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "./usr/../../outside"])
def test_a_file_that_leads_out_of_the_package_is_refused(tmp_path, name):
    (tmp_path / "toy.deb").write_bytes(toy([name]))
    with pytest.raises(ArlError, match=r"toy\.deb: cannot be unpacked: .* leads out of the package"):
        unpack(tmp_path / "toy.deb", tmp_path / "in" / "root")
    assert not (tmp_path / "outside").exists() and not (tmp_path / "in" / "outside").exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no package", "no `ar` archive"),
        (b"", "no `ar` archive"),
        (ar(debian_binary=b"2.0\n"), "no data.tar in it"),
        (ar(data_tar_zst=b"(\xb5/\xfd" + b"?" * 99), "could not be opened"),
        (toy(["./usr/file"])[:-40], "longer than the file"),
        (ar(other=b"").replace(b"0         `", b"-60       `"), "longer than the file"),
    ],
)
def test_what_is_no_package_is_named(tmp_path, content, problem):
    (tmp_path / "toy.deb").write_bytes(content)
    with pytest.raises(ArlError, match=rf"toy\.deb: cannot be unpacked: .*{problem}"):
        unpack(tmp_path / "toy.deb", tmp_path / "root")


@given(at=st.integers(0, len(toy(["./a", "./b"])) - 1), byte=st.binary(min_size=1, max_size=3), cut=st.booleans())
def test_a_damaged_package_gives_its_files_or_one_error(tmp_path_factory, at, byte, cut):
    whole, folder = toy(["./a", "./b"]), tmp_path_factory.mktemp("damaged")
    (folder / "toy.deb").write_bytes(whole[:at] if cut else whole[:at] + byte + whole[at + len(byte) :])
    try:
        unpack(folder / "toy.deb", folder / "root")
    except ArlError as error:
        assert str(error).startswith("toy.deb: cannot be unpacked: ")


# ---- fetching -----------------------------------------------------------------------------------------------


def test_apt_get_falls_back_to_lists_of_our_own(tmp_path, package, monkeypatch):
    path, digest = package
    log = tmp_path / "log"
    script = f'echo "$@" >> {log}; case "$*" in *-c*download*) cp {path} . ;; *-c*) ;; *) exit 100 ;; esac'
    program(tmp_path / "bin", "apt-get", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert (debian("toy", digest) / "usr" / "file").read_text() == CONTENT
    assert [line.split()[-2:] for line in log.read_text().splitlines()] == [
        ["download", "toy"],
        [str(tmp_path / "cache" / "apt" / "apt.conf"), "update"],
        ["download", "toy"],
    ]
    assert (debian("toy", digest) / "usr" / "file").is_file() and len(log.read_text().splitlines()) == 3


def test_another_content_is_refused_and_a_file_put_there_is_taken(tmp_path, package, cache, monkeypatch):
    path, digest = package
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


def test_without_apt_get_a_mirror_is_asked_for(tmp_path, package, cache, monkeypatch):
    path, digest = package
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArlError, match="toy is needed, and apt-get is not installed here: set ARL_DEBIAN"):
        debian("toy", digest)
    shutil.copy(path, cache / "debian")
    assert (debian("toy", digest) / "usr" / "file").read_text() == CONTENT  # nor is dpkg


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def mirror(tmp_path: Path, package: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a mirror that ARL_DEBIAN names, on a machine without apt-get."""
    root, (path, digest) = tmp_path / "debian", package
    pool = "pool/main/t/toy/toy_1_all.deb"
    (root / pool).parent.mkdir(parents=True)
    shutil.copy(path, root / pool)
    (root / INDEX).parent.mkdir(parents=True)
    others = f"Package: other\nFilename: pool/other.deb\nSHA256: {'1' * 64}\n"
    stanza = f"Package: toy\nFilename: {pool}\nSize: 1\nSHA256: {digest}\n"
    (root / INDEX).write_bytes(lzma.compress(f"{others}\n{stanza}\n{others}".encode()))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ARL_DEBIAN", f"http://127.0.0.1:{server.server_port}/debian")
    monkeypatch.setenv("PATH", str(tmp_path))
    yield root
    server.shutdown()
    server.server_close()


def test_a_mirror_gives_the_package_of_that_hash(mirror, package):
    assert (debian("toy", ("0" * 64, package[1])) / "usr" / "file").read_text() == CONTENT
    shutil.rmtree(mirror)
    assert debian("toy", package[1]).is_dir()  # once is enough


def test_what_a_mirror_does_not_have_is_named(mirror, package, cache, monkeypatch):
    with pytest.raises(ArlError, match=rf"ARL_DEBIAN=http.*/debian/: no package toy with sha256 {'0' * 64}"):
        debian("toy", "0" * 64)
    (mirror / "pool/main/t/toy/toy_1_all.deb").write_bytes(b"another")
    with pytest.raises(ArlError, match=r"toy_1_all\.deb: sha256 .* is not one"):
        debian("toy", package[1])
    (mirror / "pool/main/t/toy/toy_1_all.deb").unlink()
    with pytest.raises(ArlError, match=r"toy_1_all\.deb: cannot be fetched, as ARL_DEBIAN says .*404"):
        debian("toy", package[1])
    (mirror / INDEX).write_bytes(b"<html>")
    with pytest.raises(ArlError, match=rf"ARL_DEBIAN=http.*: {INDEX} there is no Debian index"):
        debian("toy", package[1])
    monkeypatch.setenv("ARL_DEBIAN", "no address")
    with pytest.raises(ArlError, match=r"no address/.*: cannot be fetched, as ARL_DEBIAN says"):
        debian("toy", package[1])
    assert not [left for left in (cache / "debian").iterdir() if left.is_dir()]
