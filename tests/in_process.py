"""An `arl` command in the test's own process, which has imported torch already."""

from pathlib import Path

from typer.testing import CliRunner

from arl.cli.main import make_app


def arl(command: str, *words: str | float | Path) -> None:
    """Runs it; fails with what it said."""
    done = CliRunner().invoke(make_app(), [command, *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, (command, done.output)
