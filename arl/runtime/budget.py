"""How many bad samples a stage tolerates (`--max-failed`)."""

from arl.errors import ArlError
from arl.runtime.console import warn


class FailureBudget:
    """Counts bad samples, one stderr line each; ArlError once there are more than `allowed`."""

    def __init__(self, allowed: int) -> None:
        self.allowed, self.count = allowed, 0
        self._unnamed = 0  # bad lines whose sample nobody knows

    def spend(self, message: str) -> None:
        self.count += 1
        if self.count > self.allowed:
            raise ArlError(f"{message} (--max-failed {self.allowed} samples may fail)")
        warn(f"skipped: {message}")

    def spend_line(self, message: str) -> None:
        """A line of a table that cannot be read: some sample will be missing."""
        self.spend(message)
        self._unnamed += 1

    def spend_missing(self, message: str) -> None:
        """A sample that a table does not have; counted already where a bad line may have been its."""
        if self._unnamed:
            self._unnamed -= 1
            warn(f"skipped: {message}")
        else:
            self.spend(message)
