"""The two failures a user can cause, and nothing else.

An `ArlError` is expected: the command line prints its one line and exits with its code, without a
traceback (`ARL_DEBUG=1` shows it). The line names the file, the sample, and the way out.
"""


class ArlError(Exception):
    """A failure with a known cause: bad data, a broken stage, a stale policy. Exit code 1."""

    exit_code = 1


class Terminated(SystemExit):  # noqa: N818
    """SIGTERM has come: the process ends, whatever it is doing."""


class UsageError(ArlError):
    """The command line itself is wrong: unknown value, flags that contradict. Exit code 2."""

    exit_code = 2
