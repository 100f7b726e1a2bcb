"""D1, hard and hallucinating: utterances that systems hear differently, or of which one makes things up.

Two transcripts disagree by their edit distance in words (characters where `counts_characters`) over the length of the
longer one: 0 for equal ones, 1 for nothing in common, whichever comes first. Two systems disagree by the mean over
pairs of their transcripts, one with several transcripts (`--hyps all`) also with itself; an utterance's disagreement is
that of the two which disagree most. Hallucination rules: `arl.text.hallucination`, any of them, on any transcript.

    hardness(candidate, {"base": ["go home"], "other": ["go home home"]}, RULES).disagreement     # 1/3
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from statistics import fmean
from typing import Any

from arl.data.mining.pool import Candidate
from arl.data.mining.transcripts import Transcripts
from arl.errors import ArlError
from arl.runtime.budget import FailureBudget
from arl.text.hallucination import fired
from arl.text.normalise import normalise
from arl.text.wer import units


@dataclass(frozen=True)
class Hardness:
    """disagreement: in [0, 1], between those two systems (one twice: with itself); 0 between none. rules: system to
    rule to how many of its transcripts made it fire."""

    disagreement: float = 0.0
    between: tuple[str, ...] = ()
    rules: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def reason(self) -> dict[str, Any]:
        """For the manifest."""
        shown = {"disagreement": round(self.disagreement, 4), "between": list(self.between)} if self.between else {}
        return shown | ({"rules": self.rules} if self.rules else {})


def hardness(candidate: Candidate, heard: Mapping[str, Sequence[str]], rules: Sequence[str]) -> Hardness:
    """heard: system to its transcripts of this utterance, at least one each."""
    disagreement, between = most_disagreeing(heard, candidate.lang)
    found = {name: _fired(candidate, texts, rules) for name, texts in heard.items()}
    return Hardness(disagreement, between, {name: counts for name, counts in found.items() if counts})


def most_disagreeing(heard: Mapping[str, Sequence[str]], lang: str) -> tuple[float, tuple[str, ...]]:
    """The largest disagreement and the two systems; (0, ()) when there are no two transcripts."""
    from rapidfuzz.distance import Levenshtein

    words = {name: [units(normalise(text, lang), lang) for text in texts] for name, texts in sorted(heard.items())}
    pairs = {(name, name): list(combinations(own, 2)) for name, own in words.items() if len(own) > 1}
    pairs |= {two: list(product(words[two[0]], words[two[1]])) for two in combinations(words, 2)}
    found = {two: fmean(Levenshtein.normalized_distance(a, b) for a, b in texts) for two, texts in pairs.items()}
    return max(((value, two) for two, value in found.items()), key=lambda item: item[0], default=(0.0, ()))


def _fired(candidate: Candidate, texts: Sequence[str], rules: Sequence[str]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for text in texts:
        names = fired(text, candidate.text, candidate.lang, candidate.duration_s)
        counts.update(name for name in names if name in rules)
    return {name: counts[name] for name in rules if counts[name]}


def measure(
    candidates: Sequence[Candidate], systems: Mapping[str, Transcripts], rules: Sequence[str], budget: FailureBudget
) -> dict[str, Hardness]:
    """The hardness by key of each utterance that every system has heard; the others are spent from the budget.

    Raises ArlError for a system that has heard none.
    """
    for name, transcripts in systems.items():
        if not any(candidate.key in transcripts for candidate in candidates):
            shown = next(iter(transcripts), None)
            raise ArlError(
                f"system {name!r} has no transcript of any of the {len(candidates)} utterances "
                + (f"(it has {shown!r}, they are like {candidates[0].key!r})" if shown else "(it has none at all)")
            )
    found = {}
    for candidate in candidates:
        missing = [name for name, transcripts in systems.items() if candidate.key not in transcripts]
        if missing:
            budget.spend_missing(
                f"system {missing[0]!r} has no transcript for sample {candidate.key!r} of {candidate.shard}"
            )
            continue
        heard = {name: transcripts[candidate.key] for name, transcripts in systems.items()}
        found[candidate.key] = hardness(candidate, heard, rules)
    return found


def hard(found: Mapping[str, Hardness], threshold: float) -> dict[str, dict[str, Any]]:
    """The utterances of D1 with their reasons: more disagreement than the threshold, or a rule that fired."""
    return {key: each.reason() for key, each in found.items() if each.rules or each.disagreement > threshold}


def advice(found: Mapping[str, Hardness], threshold: float) -> str:
    """Why D1 is empty, and which threshold would give some."""
    measured = [each.disagreement for each in found.values() if each.between]
    if not measured:
        return "no rule fires, and there is nothing to compare: give another --system, or --hyps all"
    largest = max(measured)
    if not largest:
        return "no rule fires, and the systems agree on everything: compare with another --system"
    lower = next(value for value in (int(largest * 100) / 100, int(largest * 100 - 1) / 100, 0.0) if value < largest)
    count = sum(value > lower for value in measured)
    return (
        f"no rule fires, and the largest disagreement is {largest:.4g}, not above {threshold:g}: "
        f"--disagree {lower:g} gives {count}"
    )
