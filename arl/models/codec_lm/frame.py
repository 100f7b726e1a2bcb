"""How the codes of a codec's levels lie in one row of an LM's tokens.

    frame = Frame((0, 1, 2, 2, 1, 2, 2), width=4096, size=4096)         # SNAC's three levels, as Orpheus has them
    frame.numbers([[7], [1, 2], [3, 4, 5, 6]])                          # [7, 4096 + 1, 2·4096 + 3, 3·4096 + 4, …]
    frame.codes(numbers)                                                # back: the codes of each level

Speech is frames of `len(levels)` codes. Each place of a frame has tokens of its own, so that a number 0 …
places·width − 1 (`acoustic_codes`; what `.codes.json` and the token recogniser have) says of itself which place it is
for. No torch.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """levels: the level of each place; width: tokens of a place; size: codes of a codebook, at most width."""

    levels: tuple[int, ...]
    width: int
    size: int

    @property
    def per_level(self) -> tuple[int, ...]:
        """How many codes of each level a frame has."""
        counts = Counter(self.levels)
        return tuple(counts[level] for level in range(len(counts)))

    def numbers(self, codes: Sequence[Sequence[int]]) -> list[int]:
        """Codes of each level, whole frames of them → numbers in the LM's order."""
        rows, n_frames = [iter(level) for level in codes], len(codes[0]) // self.per_level[0]
        order = [*enumerate(self.levels)] * n_frames
        return [place * self.width + next(rows[level]) for place, level in order]

    def codes(self, numbers: Iterable[int]) -> list[list[int]]:
        """Numbers in the LM's order → codes of each level, as many as `whole` leaves."""
        found: list[list[int]] = [[] for _ in self.per_level]
        for number in self.whole(numbers):
            place, code = divmod(number, self.width)
            found[self.levels[place]].append(code)
        return found

    def whole(self, numbers: Iterable[int]) -> list[int]:
        """Without the numbers that are out of their place or of no code, and without an incomplete last frame."""
        kept: list[int] = []
        for number in numbers:
            place, code = divmod(number, self.width)
            if place == len(kept) % len(self.levels) and code < self.size:
                kept.append(number)
        return kept[: len(kept) - len(kept) % len(self.levels)]
