"""Where the programs that come with arl lie: `stages/`, beside the package in a checkout, or installed.

They are data to arl, found by path and never imported as a package, so that a user's program has no less.
"""

from pathlib import Path

import arl
from arl.errors import ArlError

INSTALLED = "arl_stages"  # the name of `stages/` in site-packages
SUFFIXES = (".py", ".jq")


def shipped_dir() -> Path:
    """The folder of shipped stages. ArlError when the installation lacks it."""
    beside = Path(arl.__file__).resolve().parent.parent
    for folder in (beside / "stages", beside / INSTALLED):
        if (folder / "reward").is_dir():
            return folder
    raise ArlError(f"{beside}: neither stages/ nor {INSTALLED}/ is there; install arl again")


def shipped_rewards() -> dict[str, Path]:
    """The shipped reward programs by name, sorted."""
    files = sorted(path for path in (shipped_dir() / "reward").iterdir() if path.suffix in SUFFIXES)
    return {program_name(path): path for path in files}


def program_name(path: Path) -> str:
    """A file's name without .py or .jq, and without the underscore by which keyword_.py does not hide Python's own."""
    return path.stem.rstrip("_")
