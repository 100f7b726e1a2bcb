"""Where the `arl` command begins: a warm stage's job goes to its worker before anything is imported for it."""

import os
import sys


def main() -> None:
    """Runs the command line, in the stage's resident worker if there is one, else here."""
    open_missing_streams()
    if len(sys.argv) > 1:
        from arl.errors import ArlError, of_system
        from arl.runtime.warm.client import forward

        try:
            code = forward(sys.argv[1], sys.argv[1:])
        except (ArlError, OSError) as error:
            told = error if isinstance(error, ArlError) else of_system(error)
            print(f"arl: {told}", file=sys.stderr)
            sys.exit(told.exit_code)
        if code is not None:
            sys.exit(code)
    from arl.cli.main import main as run

    run()


def open_missing_streams() -> None:
    """Gives the standard streams that are closed (`>&-`) nothing to read and nowhere to write: else the first file that
    is opened takes their place, and gets what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
