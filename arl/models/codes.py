"""From the LM's token ids to acoustic tokens ("codes", 0 … n - 1): one vocabulary holds both, the codes in a row.

codes = codes_of(hyp["tokens"], fields["acoustic_first"], fields["acoustic_codes"])
"""

from collections.abc import Iterable

from arl.shards.rows import Hypothesis


def codes_of(tokens: Iterable[int], first: int, n: int) -> list[int]:
    """The codes among `tokens`, in order, others dropped. first: id of code 0; n: how many codes there are."""
    return [token - first for token in tokens if first <= token < first + n]


def frames_of(hyp: Hypothesis, first: int, n: int) -> list[tuple[int, ...]]:
    """The frames of a hypothesis that has other codes, each a tuple of all its codes. The last token ends it, or has
    none."""
    frames = zip(hyp.tokens, hyp.residual, strict=False)
    return [(token - first, *others) for token, others in frames if first <= token < first + n]
