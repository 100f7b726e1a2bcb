"""`@reward`: a function of one utterance becomes a reward program.

    from arl import reward

    @reward
    def short(utterance, limit: int = 10):
        return [float(len(hyp.text) <= limit) for hyp in utterance.hyps]

    if __name__ == "__main__":
        short.main()

`arl reward --with ./short.py` calls it in process; `python short.py --limit 5` runs it as a program on JSON
lines. Keyword parameters with a default are options. The function returns a list of numbers or None (which
excludes the hypothesis), or (list, metrics) with metrics a dict of such lists. Models load where Python
loads things once: at module level or in a cached function. What it prints goes to stderr, as standard
output carries the answers. Standard library only.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, BinaryIO, overload

from arl.errors import ArlError, UsageError
from arl.rewards.programs.contract import Answer, answer_line, check_answer, parse_utterance
from arl.rewards.programs.utterance import Utterance


@overload
def reward(function: Callable[..., Any]) -> "Reward": ...
@overload
def reward(*, pure: bool) -> "Callable[[Callable[..., Any]], Reward]": ...
def reward(function: Callable[..., Any] | None = None, *, pure: bool = False) -> Any:
    """Makes a reward program of `function(utterance, **options) -> rewards | (rewards, metrics)`.

    pure: its answer depends on the utterance alone and it loads nothing large, so that `arl reward` may call it in
    several processes at once.
    """
    if function is None:
        return functools.partial(Reward, pure=pure)
    return Reward(function, pure)


class Reward:
    """A reward function that is also a program."""

    def __init__(self, function: Callable[..., Any], pure: bool = False) -> None:
        self.function = function
        self.pure = pure
        self.name = function.__name__
        functools.update_wrapper(self, function)

    def __call__(self, utterance: Utterance, **options: Any) -> Any:
        """What the function returns, unchecked."""
        return self.function(utterance, **options)

    def answer(self, utterance: Utterance, where: str, **options: Any) -> Answer:
        """The checked answer. ArlError beginning with `where` when the function breaks the contract.

        The function gets a copy: what it does to the utterance changes neither the check nor what others see.
        """
        with contextlib.redirect_stdout(sys.stderr):
            result = self.function(utterance.copy(), **options)
        rewards, metrics = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
        if not isinstance(metrics, Mapping):
            raise ArlError(f"{where}: metrics must be a dict of lists, this is {type(metrics).__name__}")
        line = {"key": utterance.key, "rewards": _plain(rewards, where)}
        return check_answer(line | {"metrics": {k: _plain(v, where) for k, v in metrics.items()}}, utterance, where)

    def options(self, arguments: Sequence[str], program: str | None = None) -> dict[str, Any]:
        """Parses `--name value` into the function's keyword parameters. UsageError for an unknown one."""
        return vars(self._parser(program).parse_args(list(arguments)))

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Runs as a program: JSON lines on stdin to JSON lines on stdout, each written at once."""
        try:
            options = self.options(sys.argv[1:] if arguments is None else arguments)
            answers = self._answers(sys.stdin.buffer, options)
            output = sys.stdout.buffer
            for answer in answers:
                output.write(answer_line(answer))
                output.flush()
        except ArlError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            sys.exit(error.exit_code)

    def _answers(self, lines: BinaryIO, options: dict[str, Any]) -> Iterator[Answer]:
        for number, line in enumerate(lines, 1):
            try:
                utterance = parse_utterance(line)
            except ArlError as error:
                raise ArlError(f"input line {number}: {error}") from error
            try:
                yield self.answer(utterance, f"line {number} (key {utterance.key!r})", **options)
            except Exception as error:
                error.add_note(f"while scoring line {number}, key {utterance.key!r}")
                raise

    def _parser(self, program: str | None) -> Any:
        """One option per keyword parameter, of its default's type; a bool gives --name / --no-name."""
        import argparse
        import inspect

        class Parser(argparse.ArgumentParser):
            def error(self, message: str) -> Any:
                raise UsageError(f"{self.prog}: {message}")

        parser = Parser(prog=program, description=self.__doc__, argument_default=None, allow_abbrev=False)
        for name, parameter in list(inspect.signature(self.function).parameters.items())[1:]:
            if parameter.default is parameter.empty:
                raise UsageError(f"@reward {self.name}: parameter {name!r} needs a default value")
            flag, default = "--" + name.replace("_", "-"), parameter.default
            if isinstance(default, bool):
                parser.add_argument(flag, dest=name, default=default, action=argparse.BooleanOptionalAction)
            else:
                kind = str if default is None else type(default)
                parser.add_argument(flag, dest=name, default=default, type=kind, help=f"default: {default}")
        return parser


_PLAIN = {float, int, type(None)}


def _plain(values: Any, where: str) -> list[Any]:
    """A list of Python floats and Nones out of a list, tuple or array of numbers (bools and numpy scalars count)."""
    if isinstance(values, str | Mapping) or not hasattr(values, "__iter__"):
        raise ArlError(f"{where}: the function must return a list with one number or None per hypothesis")
    plain = list(values)
    return plain if set(map(type, plain)) <= _PLAIN else [_scalar(value) for value in plain]


def _scalar(value: Any) -> Any:
    """A Real as int or float; anything else as it is, for the contract to refuse. numpy's bool is not a Real."""
    if isinstance(value, Real) and not isinstance(value, int | float):
        return float(value)
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return float(value)
    return value
