"""The two failures a user can cause, and the operating system's as one of them.

An `ArlError` is expected: the command line prints its one line and exits with its code, without a
traceback (`ARL_DEBUG=1` shows it). The line names the file, the sample, and the way out.
"""

import errno


class ArlError(Exception):
    """A failure with a known cause: bad data, a broken stage, a stale policy. Exit code 1."""

    exit_code = 1


class Terminated(SystemExit):  # noqa: N818
    """SIGTERM has come: the process ends, whatever it is doing."""


class UsageError(ArlError):
    """The command line itself is wrong: unknown value, flags that contradict. Exit code 2."""

    exit_code = 2


WAYS_OUT = {
    errno.ENOSPC: "make room, or choose another place",
    errno.EDQUOT: "make room, or choose another place",
    errno.EROFS: "choose another place",
    errno.EIO: "the disk is failing, or was taken away",
    errno.EMFILE: "`ulimit -n` allows more",
}


def reason_of(error: OSError) -> str:
    """Why the operating system would not, in its own words, and the way out of what everyone meets."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason}; {WAYS_OUT[error.errno]}" if error.errno in WAYS_OUT else reason


def of_system(error: OSError) -> ArlError:
    """The one line for a failure of the operating system that nothing has said more about: place, where known, and
    reason."""
    places = [str(place) for place in (error.filename, error.filename2) if isinstance(place, str | bytes)]
    return ArlError(": ".join([" -> ".join(places)] * bool(places) + [reason_of(error)]))
