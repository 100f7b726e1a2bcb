"""An `arl` command in the test's own process, which has imported torch already."""

import io
import os
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from arl.cli.main import main, make_app


def arl(command: str, *words: str | float | Path) -> None:
    """Runs it; fails with what it said."""
    done = CliRunner().invoke(make_app(), [command, *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, (command, done.output)


def command_line(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a command line in a folder says and how it ends, errors as a shell has them. environment: to add."""
    out, errors, code = io.StringIO(), io.StringIO(), 0
    on_term = signal.getsignal(signal.SIGTERM)
    with (
        chdir(folder), mock.patch.object(sys, "argv", ["arl", *words]), mock.patch.dict(os.environ, environment),
        redirect_stdout(out), redirect_stderr(errors),
    ):  # fmt: skip
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        finally:
            signal.signal(signal.SIGTERM, on_term)
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())
