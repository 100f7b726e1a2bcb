"""Which utterance goes to which set, when it qualifies for several.

Each goes to one set, so that sets can be compared, and a union of sets has no utterance twice. D0 is drawn
first, from all utterances: a control drawn from what the others leave would be an easy one. Then D2, D1, D3 take of
what is left all that qualifies, up to their sizes, so that D1 with D2, and all of them, lose nothing to each other.
With `overlap` every set is chosen by itself, and sets share utterances; a union made here (`D0+D2`) has each once.

Every order is that of a hash of (seed, set, key): it does not depend on the order of the pool, and an utterance more or
less does not change the others' places. Cut to its size, a set is the first of that order.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from arl.errors import ArlError, UsageError

RANDOM, HARD, LONG, WORDS = "D0", "D1", "D2", "D3"
SETS = (RANDOM, HARD, LONG, WORDS)
PRECEDENCE = (LONG, HARD, WORDS)


@dataclass(frozen=True)
class SetPlan:
    """sets: which to make. unions: of these, as "D0+D2". sizes: the most utterances of a set. control: the set whose
    size D0 gets when it has none of its own."""

    sets: Collection[str] = SETS
    sizes: Mapping[str, int] = field(default_factory=dict)
    control: str = HARD
    overlap: bool = False
    seed: int = 0
    unions: Collection[str] = ()


def parse(sets: str, size: str, control: str, overlap: bool, seed: int) -> SetPlan:
    """sets: "D0,D1"; "D0+D2" is D0, D2 and their union. size: "200" for each of them, or "D0=200,D2=40". control: ""
    for the first of D1, D3, D2. Raises UsageError.
    """
    words = [word.replace(" ", "") for word in sets.split(",")]
    names = [name for word in words for name in word.split("+")]
    if unknown := [name for name in names if name not in SETS]:
        raise UsageError(f"--sets {sets}: {unknown[0]!r} is none of {', '.join(SETS)}")
    sizes = _sizes(size, names)
    others = [name for name in (HARD, WORDS, LONG) if name in names]
    if control and (control not in others or RANDOM not in names or RANDOM in sizes):
        raise UsageError(f"--control {control}: one of D1, D2, D3 in --sets, for a {RANDOM} without a --size")
    control = control or next(iter(others), "")
    if RANDOM in names and RANDOM not in sizes and not control:
        raise UsageError(f"{RANDOM} needs a size: --size {RANDOM}=N, or a set to be the control of: --control {HARD}")
    made = [name for name in SETS if name in names]
    unions = tuple("+".join(name for name in made if name in word.split("+")) for word in words if "+" in word)
    return SetPlan(made, sizes, control, overlap, seed, tuple(dict.fromkeys(unions)))


def _sizes(size: str, names: Sequence[str]) -> dict[str, int]:
    """'200' or 'D0=200,D2=40' → utterances by set."""
    pairs = [part.strip().rpartition("=") for part in size.split(",")] if size else []
    if any(not count.isdecimal() or not int(count) or bool(equals) != bool(name) for name, equals, count in pairs):
        raise UsageError(f"--size {size}: a number of utterances, or one for each set, as in D0=200,D2=40")
    given = {name: int(count) for name, _, count in pairs}
    if len(given) < len(pairs) or not set(given) <= {"", *names} or ("" in given and len(given) > 1):
        raise UsageError(f"--size {size}: each set of --sets once, or one number for all")
    return dict.fromkeys(names, given[""]) if "" in given else given


def order(keys: Iterable[str], name: str, seed: int) -> list[str]:
    """The keys in the seeded order of a set."""
    return sorted(keys, key=lambda key: (hashlib.sha256(f"{seed}/{name}/{key}".encode()).digest(), key))


def choose(pool: Collection[str], qualified: Mapping[str, Collection[str]], plan: SetPlan) -> dict[str, list[str]]:
    """Set to its keys, in its seeded order. qualified: the keys that may go to D1, D2, D3."""
    orders = {name: order(qualified[name], name, plan.seed) for name in PRECEDENCE if name in qualified}
    if RANDOM not in plan.sets:
        return _dealt(orders, (), plan)
    drawn = order(pool, RANDOM, plan.seed)
    size = plan.sizes.get(RANDOM)
    if size is None:
        size = _matching(drawn, orders, plan)
    elif size > len(drawn):
        there = len(drawn)
        raise ArlError(f"{RANDOM}: {size} utterances asked, {there} are there: --size {RANDOM}={there} at most")
    others = _dealt(orders, drawn[:size], plan)
    if RANDOM not in plan.sizes:  # one more may qualify than is left for the control
        others[plan.control] = others[plan.control][:size]
    return {RANDOM: drawn[:size], **others}


def _dealt(orders: Mapping[str, list[str]], drawn: Collection[str], plan: SetPlan) -> dict[str, list[str]]:
    taken = set() if plan.overlap else set(drawn)
    dealt = {}
    for name, keys in orders.items():
        dealt[name] = [key for key in keys if key not in taken][: plan.sizes.get(name)]
        if not plan.overlap:
            taken.update(dealt[name])
    return dealt


def _matching(drawn: list[str], orders: Mapping[str, list[str]], plan: SetPlan) -> int:
    """The largest size of D0 that leaves its control set as many utterances: what D0 takes, the others cannot have."""
    low, high = 0, len(drawn)
    while low < high:
        middle = (low + high + 1) // 2
        if len(_dealt(orders, drawn[:middle], plan)[plan.control]) >= middle:
            low = middle
        else:
            high = middle - 1
    return low
