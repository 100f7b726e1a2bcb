"""How different the members of a group are: normalised edit distances between sequences of acoustic tokens.

group_distances([[5, 9, 2], [5, 9, 2], [7, 7]])   # [0.5, 0.5, 1.0]
"""

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein


def spoken(tokens: Sequence[int], finish: str) -> Sequence[int]:
    """The acoustic tokens without the stop token, which is the last one where finish is "stop"."""
    return tokens[:-1] if finish == "stop" else tokens


def group_distances(sequences: Sequence[Sequence[int]]) -> list[float | None]:
    """Per sequence the mean over the others of edit distance / length of the longer one, 0 (all equal) to 1.

    None for a sequence that has no others. Two empty sequences are equal.
    """
    n = len(sequences)
    if n < 2:
        return [None] * n
    totals = [0.0] * n
    for i in range(n):
        for j in range(i):
            distance = Levenshtein.normalized_distance(sequences[i], sequences[j])
            totals[i] += distance
            totals[j] += distance
    return [total / (n - 1) for total in totals]
