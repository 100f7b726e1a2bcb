"""Whether a folder may hold the state of a resident process: it is this user's, and nobody else can write to it.

As ssh does: the folder, and what it lies in, up to the home or, elsewhere, the run's folder, through links too. Whoever
could write there could name files to remove and processes to end, or take a job with its environment. Light: every
command line uses it.

    make_private("runs/demo/engine"); check_private("runs/demo/engine")
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator

from arl.errors import ArlError

HIDDEN = ".arl"  # state in .arl/NAME belongs to the folder that .arl lies in


def check_private(folder: str | os.PathLike[str]) -> None:
    """ArlError, one line, where another user owns the folder or what it lies in, or can write to it.

    What is not there yet is not looked at. The folder itself must be this user's; those above it may be root's.
    """
    folder = os.path.abspath(folder)
    real = os.path.realpath(folder)
    for path in dict.fromkeys([*_up_to_run(folder), *_up_to_run(real)]):
        try:
            found = os.stat(path)
        except OSError:  # not there, or not a folder: whoever uses it will say so
            continue
        owners = {os.geteuid()} if path in (folder, real) else {os.geteuid(), 0}
        if found.st_uid not in owners:
            raise _refusal(folder, path, f"belongs to another user (uid {found.st_uid})", "take a folder of your own")
        if _others_can_write(found):
            mode = f"others can write to it (mode {stat.S_IMODE(found.st_mode):o})"
            raise _refusal(folder, path, mode, f"chmod go-w {path}")


def make_private(folder: str | os.PathLike[str]) -> None:
    """Makes the folder, mode 0700, and those above it that are missing. ArlError as `check_private`."""
    check_private(folder)
    folder = os.path.abspath(folder)
    missing = []
    above = os.path.dirname(folder)
    while not os.path.isdir(above):
        missing.append(above)
        above = os.path.dirname(above)
    for path in reversed(missing):
        _make(path, 0o755)
    _make(folder, 0o700)
    check_private(folder)  # another user may have been quicker
    os.chmod(folder, 0o700)


def is_own_file(descriptor: int) -> bool:
    """Whether an open file is a plain one of this user's that others cannot write to."""
    found = os.fstat(descriptor)
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not _others_can_write(found)


def _up_to_run(folder: str) -> Iterator[str]:
    home = os.path.realpath(os.path.expanduser("~"))
    run = os.path.dirname(folder)
    if os.path.basename(run) == HIDDEN:
        run = os.path.dirname(run)
    last = home if folder.startswith(f"{home.rstrip('/')}/") else run
    while folder != last and folder != "/":
        yield folder
        folder = os.path.dirname(folder)
    yield folder


def _others_can_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_ISVTX and stat.S_ISDIR(found.st_mode):  # /tmp: nobody can replace what is another's
        return False
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_own_group(found.st_gid)


def _is_own_group(gid: int) -> bool:
    """Whether the group is this user's private one: of the same name, without other members."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and not set(group.gr_mem) - {user.pw_name}


def _make(path: str, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def _refusal(folder: str, path: str, why: str, way_out: str) -> ArlError:
    return ArlError(
        f"{path}: {why}, so state in {folder} is not used; {way_out}, or name another one (ARL_ENGINE, ARL_WARM)"
    )
