"""Runs of what normalisation drops: symbols, blanks, invisible characters, fillers. Nobody says them, and a recogniser
that has collapsed writes nothing else.

    symbol_rounds("off" + "!" * 40) == 40
    swallowed_rounds("um uh um off um", "en") == 3
"""

import re

from arl.text.loops import inside_words, loop, periods
from arl.text.normalise import normalise

LONGEST_ROUND = 8  # characters
UNSPOKEN = r"[\W_\u0640\u115f\u1160\u3164\uffa0]"  # tatweel and the fillers of Hangul are letters by category
LOOP = 6  # rounds: no shorter loop of words is looked at
SHORTEST_RUN = 9  # characters: no shorter one is looked at
_RUN = re.compile(f"{UNSPOKEN}{{{SHORTEST_RUN},}}")
_ROUNDS = re.compile(rf"(.{{1,{LONGEST_ROUND}}}?)\1{{2,}}", re.DOTALL)
_FILLERS = re.compile(r"(?:\b(?:hmm|mm|mhm|mmm|uh|um)\b[\W_]*)+", re.IGNORECASE)  # what Whisper's normaliser drops
_WORD = re.compile(r"\w+")


def symbol_runs(text: str) -> list[str]:
    """The stretches of the text without letters and digits, those of 9 characters or more."""
    return _RUN.findall(text)


def symbol_rounds(text: str) -> float:
    """How often one to eight such characters stand in a row, at most; 0 without a loop."""
    found = (match for run in symbol_runs(text) for match in _ROUNDS.finditer(run))
    return max((len(match[0]) / len(match[1]) for match in found), default=0.0)


def swallowed_rounds(text: str, lang: str) -> float:
    """How often a word, several words or digits stand in a row that the English normaliser makes less of than one
    character a round: "um um um", "minus minus", 000; a stretch of mixed fillers counts by its words."""
    if lang != "en":
        return 0.0
    fillers = max((len(_WORD.findall(match[0])) for match in _FILLERS.finditer(text)), default=0)
    words = list(_WORD.finditer(text))
    units = [word[0].lower() for word in words]
    found = [float(fillers)]
    for period in periods(units, LOOP):
        run, end = loop(units, period)
        segment = text[words[end - run - period].start() : words[end - 1].end()]
        if run and len(normalise(segment, lang)) < 1 + run / period:
            found.append(1 + run / period)
    found += [
        rounds for word in set(units) for _, rounds in inside_words([word], LOOP) if len(normalise(word, lang)) < rounds
    ]
    return max(found)
