"""How different the members of a group are: normalised edit distances between sequences of acoustic tokens.

group_distances([[5, 9, 2], [5, 9, 2], [7, 7]])         # [0.5, 0.5, 1.0]
own_length_distances([[5, 9, 2], [5, 9, 2], [7, 7]])    # [0.33, 0.33, 1.0]
"""

from collections.abc import Callable, Sequence

from rapidfuzz.distance import Levenshtein


def spoken(tokens: Sequence[int], finish: str) -> Sequence[int]:
    """The acoustic tokens without the stop token, which is the last one where finish is "stop"."""
    return tokens[:-1] if finish == "stop" else tokens


def group_distances(sequences: Sequence[Sequence[int]]) -> list[float | None]:
    """Per sequence the mean over the others of edit distance / length of the longer one, 0 (all equal) to 1.

    None for a sequence that has no others. Two empty sequences are equal.
    """
    distances = pairwise(sequences, Levenshtein.normalized_distance)
    return [sum(row) / (len(row) - 1) if len(row) > 1 else None for row in distances]


def own_length_distances(sequences: Sequence[Sequence[int]]) -> list[float | None]:
    """Per sequence the mean over the group, itself included, of edit distance / its own length: the token part of eq. 8
    of arXiv 2509.18569. 0 (all equal) and up; short ones have the largest. An empty sequence counts as of length 1.

    None for a sequence that has no others.
    """
    distances = pairwise(sequences, Levenshtein.distance)
    return [
        sum(row) / len(row) / max(1, len(own)) if len(row) > 1 else None
        for row, own in zip(distances, sequences, strict=True)
    ]


def pairwise(
    sequences: Sequence[Sequence[int]], distance: Callable[[Sequence[int], Sequence[int]], float]
) -> list[list[float]]:
    """[n][n] of a symmetric distance that is 0 between equal sequences."""
    n = len(sequences)
    rows = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i):
            rows[i][j] = rows[j][i] = distance(sequences[i], sequences[j])
    return rows
