"""How many bad samples a stage tolerates (`--max-failed`)."""

from arl.errors import ArlError
from arl.runtime.console import warn


class FailureBudget:
    """Counts bad samples, one stderr line each; ArlError once there are more than `allowed`."""

    def __init__(self, allowed: int) -> None:
        self.allowed, self.count = allowed, 0

    def spend(self, message: str) -> None:
        self.count += 1
        if self.count > self.allowed:
            raise ArlError(f"{message} (--max-failed {self.allowed} samples may fail)")
        warn(f"skipped: {message}")
