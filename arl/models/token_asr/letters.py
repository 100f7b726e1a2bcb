"""Letters as CTC's labels, for the recognisers over " a-z'": 0 is the blank, 1 to 28 are LETTERS. Mandarin is read as
syllables without tones.

labels("no one")      # (15, 16, 1, …)
spell(path)           # "no one" of the best label at each step, repeats and blanks removed
"""

import functools

from torch import Tensor

from arl.text.letters import LETTERS, readable

N_LABELS = 1 + len(LETTERS)


@functools.lru_cache(maxsize=1 << 12)
def labels(text: str) -> tuple[int, ...]:
    """The text's letters, 1 to 28. Unspoken for a text that has others (`readable`)."""
    return tuple(1 + LETTERS.index(letter) for letter in readable(text))


def spell(path: Tensor) -> str:
    """int64 [T], a label for each step → the text."""
    return "".join(LETTERS[label - 1] for label in path.unique_consecutive().tolist() if label)
