"""From the LM's token ids to acoustic tokens ("codes", 0 … n - 1): one vocabulary holds both, the codes in a row.

codes = codes_of(hyp["tokens"], fields["acoustic_first"], fields["acoustic_codes"])
"""

from collections.abc import Iterable


def codes_of(tokens: Iterable[int], first: int, n: int) -> list[int]:
    """The codes among `tokens`, in order, others dropped. first: id of code 0; n: how many codes there are."""
    return [token - first for token in tokens if first <= token < first + n]
