"""Several reward programs over one stream of utterances, in step.

Every program gets every utterance as soon as it is read; answers are taken as they come, in input order.
A program that answers only at the end of its input works too: then the utterances wait in memory.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from arl.rewards.programs.contract import Answer
from arl.rewards.programs.resolve import Program
from arl.rewards.programs.utterance import Utterance

Row = TypeVar("Row")


def answer_stream(
    programs: Sequence[Program], rows: Iterable[tuple[Row, Utterance | None]]
) -> Iterator[tuple[Row, Utterance | None, list[Answer]]]:
    """Yields each row with its utterance and one answer per program, in the rows' order.

    A row whose utterance is None (a bad sample) is passed on without answers. The last row is yielded only
    after every program has ended well, so that a failure at exit is seen before the last result is used.
    """
    waiting: deque[tuple[Row, Utterance | None]] = deque()

    def take() -> tuple[Row, Utterance | None, list[Answer]]:
        row, utterance = waiting.popleft()
        return row, utterance, [] if utterance is None else [program.receive() for program in programs]

    for row, utterance in rows:
        if utterance is not None:
            for program in programs:
                program.send(utterance)
        waiting.append((row, utterance))
        while len(waiting) > 1 and (waiting[0][1] is None or all(program.ready() for program in programs)):
            yield take()
    for program in programs:
        program.finish()
    while len(waiting) > 1:
        yield take()
    last = take() if waiting else None
    for program in programs:
        program.close()
    if last is not None:
        yield last
