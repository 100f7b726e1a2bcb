"""Reference and hypotheses under each other, word by word, errors marked so that they show without colour.

    for line in render(("REF", "A", "B"), merge([row_a["alignment"], row_b["alignment"]]), width=80):
        print(line.plain)

As NIST sclite prints them: a wrong word in capitals (in brackets where capitals say nothing: 21, 你), a missing one
as ***; where the reference has *** the hypothesis's word is an insertion. On a terminal substitutions are yellow,
deletions red, insertions cyan. Left out: sclite's line of letters; the marks say the same.
"""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

Step = Sequence[str | None]  # (operation, reference word, hypothesis word), as arl.text.wer.align gives it
Column = tuple[str | None, ...]  # the reference's word, then each hypothesis's; None: no word there

STYLES = {"equal": "", "substitute": "yellow", "delete": "red", "insert": "cyan"}
MISSING = "***"  # as wide as its column


def merge(alignments: Sequence[Sequence[Step]]) -> list[Column]:
    """Several hypotheses of one reference, each with its own alignment, on one line of columns.

    Insertions at the same place share columns from the left. ValueError when the references differ.
    """
    references = [[word for _, word, _ in steps if word is not None] for steps in alignments]
    if any(reference != references[0] for reference in references):
        raise ValueError("alignments with different references")
    slots = [list(_slots(steps)) for steps in alignments]
    columns: list[Column] = []
    for index in range(len(references[0]) + 1):
        here = [slot[index] for slot in slots]
        for place in range(max(len(inserted) for inserted, _ in here)):
            columns.append((None, *(words[place] if place < len(words) else None for words, _ in here)))
        if index < len(references[0]):
            columns.append((references[0][index], *(word for _, word in here)))
    return columns


def _slots(steps: Sequence[Step]) -> Iterator[tuple[list[str], str | None]]:
    """Before each reference word what is inserted, and the word put for it; last what is inserted after the end."""
    inserted: list[str] = []
    for _, expected, heard in steps:
        if expected is not None:
            yield inserted, heard
            inserted = []
        elif heard is not None:
            inserted.append(heard)
    yield inserted, None


def operation(expected: str | None, heard: str | None) -> str:
    """What happened in a column: "equal", "substitute", "delete" or "insert"."""
    if expected == heard:
        return "equal"
    return "insert" if expected is None else "delete" if heard is None else "substitute"


def mark(word: str) -> str:
    """A wrong word: capitals, from which `unmark` gets it back, else brackets."""
    capitals = word.upper()
    return capitals if capitals != word and capitals.lower() == word else f"[{word}]"


def unmark(word: str) -> str:
    """The word that `mark` marked; a word without marks is itself."""
    return word[1:-1] if word.startswith("[") else word.lower()


def cell(column: Column, row: int) -> str:
    """What row 0 (the reference) or 1, 2, ... (a hypothesis) shows in a column; "" is blank."""
    word = column[row]
    if row == 0:
        return MISSING if word is None else word
    if word is None:
        return "" if column[0] is None else MISSING
    return word if word == column[0] else mark(word)


def render(labels: Sequence[str], columns: Sequence[Column], width: int) -> Iterator[Text]:
    """One line per label, broken into blocks of lines that fit `width` terminal cells.

    labels: the reference's, then one per hypothesis.
    """
    indent = max(map(len, labels)) + 1
    widths = [max(cell_len(cell(column, row)) for row in range(len(labels))) for column in columns]
    start = 0
    while start < len(columns):
        end, used = start + 1, indent + widths[start]
        while end < len(columns) and used + 1 + widths[end] <= width:
            used += 1 + widths[end]
            end += 1
        for row, label in enumerate(labels):
            yield _line(f"{label:{indent}}", row, columns[start:end], widths[start:end])
        start = end


def _line(head: str, row: int, columns: Sequence[Column], widths: Sequence[int]) -> Text:
    line = Text(head)
    for column, width in zip(columns, widths, strict=True):
        shown = cell(column, row)
        kind = operation(column[0], column[row]) if row else "equal"
        if shown == MISSING:
            shown = "*" * width
        line.append(shown, STYLES[kind])
        line.append(" " * (width - cell_len(shown) + 1))
    line.rstrip()
    return line
