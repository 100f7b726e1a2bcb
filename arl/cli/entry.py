"""Where the `arl` command begins: a warm stage's job goes to its worker before anything is imported for it."""

import sys


def main() -> None:
    """Runs the command line, in the stage's resident worker if there is one, else here."""
    if len(sys.argv) > 1:
        from arl.errors import ArlError
        from arl.runtime.warm.client import forward

        try:
            code = forward(sys.argv[1], sys.argv[1:])
        except ArlError as error:
            print(f"arl: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
        if code is not None:
            sys.exit(code)
    from arl.cli.main import main as run

    run()
