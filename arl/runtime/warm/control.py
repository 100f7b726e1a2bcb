"""What `arl warm start` and `arl warm stop` do: several workers at once, by the names of their stages."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from arl.errors import UsageError
from arl.runtime.console import note
from arl.runtime.private import check_private
from arl.runtime.stages import CAN_BE_WARM
from arl.runtime.warm.start import start, stop
from arl.runtime.warm.state import warm_folder


def start_all(warm: str | None, stages: Sequence[str] | None) -> None:
    """Starts the workers of these stages, or of all, and returns when they take jobs. ArlError if one ends."""
    folder, began = folder_of(warm), time.monotonic()
    chosen = checked(stages)
    with ThreadPoolExecutor(len(chosen)) as pool:
        started = list(pool.map(lambda stage: start(folder, stage), chosen))
    new = [stage for stage, is_new in zip(chosen, started, strict=True) if is_new]
    note(f"warm: {' '.join(new) or 'nothing'} started in {time.monotonic() - began:.1f} s ({folder})")


def stop_all(warm: str | None, stages: Sequence[str] | None) -> None:
    """Ends the workers of these stages, or of all, with the jobs they may be doing."""
    folder = folder_of(warm)
    stopped = [stage for stage in checked(stages) if stop(folder, stage)]
    note(f"warm: {' '.join(stopped) or 'nothing'} stopped")


def folder_of(warm: str | None) -> str:
    """The warm folder. UsageError where ARL_WARM is set to nothing, ArlError where others can write to it."""
    folder = warm_folder(warm)
    if folder is None:
        raise UsageError("ARL_WARM is set to nothing, which means cold stages; unset it or give --warm")
    check_private(folder)
    return folder


def checked(stages: Sequence[str] | None) -> list[str]:
    """The stages asked for, each once. UsageError for one that cannot be warm."""
    unknown = [stage for stage in stages or () if stage not in CAN_BE_WARM]
    if unknown:
        raise UsageError(f"{unknown[0]} is no stage that can be warm: one of {', '.join(CAN_BE_WARM)}")
    return list(dict.fromkeys(stages or CAN_BE_WARM))
