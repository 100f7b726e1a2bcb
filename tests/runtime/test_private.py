"""Folders of state: this user's own and nobody else's to write to, up to the run or the home."""

import os
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.runtime.private import check_private, make_private

STRANGER = 12345


def change_owner(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(path, STRANGER, STRANGER)


def test_a_private_folder_is_made_with_what_it_lies_in(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private(tmp_path / "run" / "engine")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("run", "run/engine")] == [0o755, 0o700]
    make_private(tmp_path / "run" / "engine")


def test_nothing_there_is_nothing_wrong(tmp_path: Path) -> None:
    check_private(tmp_path / "none" / ".arl" / "engine")


@pytest.mark.parametrize("open_one", ["run", "run/.arl", "run/.arl/engine"])
@pytest.mark.parametrize("mode", [0o777, 0o722, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, open_one: str, mode: int) -> None:
    state = tmp_path / "run" / ".arl" / "engine"
    state.mkdir(parents=True)
    (tmp_path / open_one).chmod(mode)
    with pytest.raises(ArlError, match=f"^{tmp_path / open_one}: others can write to it .*chmod go-w") as error:
        make_private(state)
    assert "\n" not in str(error.value) and (tmp_path / open_one).stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("given", ["run", "run/engine"])
def test_a_folder_of_another_user_is_refused(tmp_path: Path, given: str) -> None:
    state = tmp_path / "run" / "engine"
    state.mkdir(parents=True)
    change_owner(tmp_path / given)
    with pytest.raises(ArlError, match="belongs to another user"):
        check_private(state)


def test_a_link_into_another_users_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs" / "engine").mkdir(parents=True)
    change_owner(tmp_path / "theirs")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "engine").symlink_to(tmp_path / "theirs" / "engine")
    with pytest.raises(ArlError, match="belongs to another user"):
        check_private(tmp_path / "run" / "engine")


def test_a_sticky_folder_above_is_no_danger(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    make_private(tmp_path / "engine")


def test_below_the_home_everything_up_to_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "home" / "shared" / "run" / "engine"
    state.mkdir(parents=True)
    (tmp_path / "home" / "shared").chmod(0o777)
    check_private(state)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(ArlError, match="shared: others can write"):
        check_private(state)
