"""Hallucination by rules on the text: output of a recogniser that cannot be a transcript of the audio.

    fired("thank you thank you thank you thank you", "thank you", "en") == ("ngram_loop", "insertion", "length_ratio")

The rules of the paper's second reward (arXiv 2509.18569, section 4): repetition (`ngram_loop`, `char_loop`),
non-existent content (`insertion`, `length_ratio`; against the audio `speaking_rate`), translation (`script`,
`language`). stages/reward/hallucination.md defines each and gives its measured precision and recall. Texts are
normalised (`arl.text.normalise`); text in brackets counts where the reference has no such tag. The loops are looked
for in the text as it is written too: normalisation drops symbols and fillers. Left out: fluent
wrong words as many as the right ones (the error rate has them), and silence, which needs the audio.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from arl.errors import UsageError
from arl.text.languages import odds
from arl.text.loops import inside_words, longest_run, loop, own_run, periods
from arl.text.normalise import open_brackets
from arl.text.properties import NATURAL_REPEATS, Text
from arl.text.scripts import LANGUAGE_SCRIPTS, script, speech_s
from arl.text.tags import language
from arl.text.wer import aligned, counts_characters

SHORT_ROUND = 2  # words: a longer round is a phrase, which people do not say three times
CHARACTERS_PER_WORD = 2  # of a language whose words are not counted
SYMBOLS_IN_A_ROW = 30  # however they differ
WORDS_PER_DIGIT, DIGIT_S = 2, 1 / 3  # how much more a digit of the reference may be in words: "quatre-vingt-"
WORD_S = 2 / 15  # of the fastest speech: 4 letters
SLACK_S = 0.3  # clips are cut closely, and durations rounded
LOAN = 2 / 3  # Latin letters count less as another script: brands and loans are written in them everywhere
EVIDENCE_WORDS, EVIDENCE_LETTERS = 2, 10  # below, the language of a text cannot be told
EVIDENCE_HAN = 4  # characters without kana: below, it may be Japanese
KANA = frozenset({"HIRAGANA", "KATAKANA"})


@dataclass(frozen=True)
class Thresholds:
    """When each rule fires; `off` names the rules that never do.

    loop_repeats: rounds of one or two words in a row, beyond the reference's. phrase_repeats: of longer rounds.
    character_repeats: rounds of characters in a word. insertion_rate: inserted per reference word;
    insertion_words: and at least as many. length_ratio: times the reference's length. speaking_rate: times the
    fastest human. script_share: of the hypothesis, by the time to say it, in another script. language_odds: how many
    times likelier another language is.
    """

    loop_repeats: float = 4.0
    phrase_repeats: float = 3.0
    character_repeats: int = 6
    insertion_rate: float = 0.5
    insertion_words: int = 3
    length_ratio: float = 2.0
    speaking_rate: float = 1.0
    script_share: float = 0.4
    language_odds: float = 20.0
    off: tuple[str, ...] = ()


_reference = functools.lru_cache(maxsize=1 << 12)(Text)  # a group's hypotheses come one after another


@dataclass(slots=True)
class Case:
    """One hypothesis for the rules."""

    hypothesis: Text
    reference: Text | None
    lang: str
    duration_s: float | None
    scale: int  # units that make a word

    def spelled_digits(self, reference: Text) -> int:
        """Digits of the reference that the hypothesis may have in words."""
        return max(0, reference.digits - self.hypothesis.digits) if reference.digits else 0


def fired(
    hypothesis: str,
    reference: str | None,
    lang: str,
    duration_s: float | None = None,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 (frozen)
) -> tuple[str, ...]:
    """The names of the rules that fire, in the order of `RULES`.

    reference None: only the rules that need none, and only repetitions beyond what speech has by itself.
    duration_s: the audio's length; without it `speaking_rate` never fires. lang: "" when unknown.
    """
    lang = language(lang)
    said = None if reference is None else _reference(reference, lang)
    heard = Text(hypothesis, lang, open_brackets(hypothesis, reference))
    case = Case(heard, said, lang, duration_s, CHARACTERS_PER_WORD if counts_characters(lang) else 1)
    rules = _RULES if said is None or heard.spaceless != said.spaceless else _RULES_OF_EQUAL_WORDS
    return tuple([name for name, rule in rules.items() if rule(case, thresholds) and name not in thresholds.off])


def ngram_loop(case: Case, thresholds: Thresholds) -> bool:
    """Words in a row that repeat, more often than in the reference; where characters count, rounds of 3 or more."""
    if swallowed_loop(case, thresholds):
        return True
    heard = case.hypothesis.units
    for period in periods(heard, min(thresholds.loop_repeats, thresholds.phrase_repeats)):
        is_short = period <= SHORT_ROUND * case.scale
        least = thresholds.loop_repeats if is_short else thresholds.phrase_repeats
        if (case.scale == 1 or period > CHARACTERS_PER_WORD) and _rounds(case, period, is_short) >= least:
            return True
    return False


def char_loop(case: Case, thresholds: Thresholds) -> bool:
    """Characters that repeat inside a word, beyond the reference; where characters count, rounds of 1 or 2. Symbols."""
    if symbol_loop(case, thresholds):
        return True
    least = thresholds.character_repeats
    if case.scale > 1:
        lengths = [n for n in periods(case.hypothesis.units, least) if n <= CHARACTERS_PER_WORD]
        return any(_rounds(case, n, True) >= least for n in lengths)
    heard = case.hypothesis
    words = _without_round_numbers(heard.normalised).split() if "00" in heard.normalised else heard.units
    for period, repeats in inside_words(words, least):
        excused = NATURAL_REPEATS - 1.0
        if case.reference is not None:
            excused = longest_run(_without_round_numbers(case.reference.normalised).replace(" ", ""), period) / period
        if repeats - excused >= least:
            return True
    return False


def swallowed_loop(case: Case, thresholds: Thresholds) -> bool:
    """Fillers and other words that normalisation drops, in a row, beyond the reference's."""
    beyond, said = case.hypothesis.swallowed_rounds - thresholds.loop_repeats, case.reference
    if said is None or beyond < NATURAL_REPEATS:
        return beyond >= NATURAL_REPEATS
    # zeros that were read out are digits once normalised
    return beyond >= max(said.swallowed_rounds, 1 + longest_run(said.spaceless, 1))


def symbol_loop(case: Case, thresholds: Thresholds) -> bool:
    """Symbols, blanks or invisible characters that repeat, or very many of them in a row, beyond the reference's."""
    heard, said = case.hypothesis, case.reference
    if not heard.symbol_runs:
        return False
    if heard.symbols - (0 if said is None else said.symbols) >= SYMBOLS_IN_A_ROW:
        return True
    excused = NATURAL_REPEATS if said is None else said.symbol_rounds
    return heard.symbol_rounds - excused >= thresholds.character_repeats


def insertion(case: Case, thresholds: Thresholds) -> bool:
    """Words inserted into the reference, which are not its own words written apart or its digits in words."""
    if case.reference is None:
        return False
    said, heard = case.reference, case.hypothesis
    inserted = _inserted(case)
    if not said.units:
        return inserted > 0
    least = max(thresholds.insertion_words * case.scale, thresholds.insertion_rate * len(said.mixed))
    if inserted < least or inserted - WORDS_PER_DIGIT * case.spelled_digits(said) < least:
        return False
    return case.scale > 1 or aligned(said.spaceless, heard.spaceless, True).errors.insertions >= 2 * inserted


def length_ratio(case: Case, thresholds: Thresholds) -> bool:
    """A hypothesis that takes much longer to say than the reference, however it is cut into words."""
    said, heard = case.reference, case.hypothesis
    if said is None or not said.normalised:
        return False
    longer = speech_s(heard.normalised) - DIGIT_S * case.spelled_digits(said)
    least = thresholds.insertion_words * WORD_S
    return longer >= max(thresholds.length_ratio * said.normalised_s, said.normalised_s + least)


def speaking_rate(case: Case, thresholds: Thresholds) -> bool:
    """More than a human can say in the audio's duration, and more than the reference."""
    if case.duration_s is None:
        return False
    needed = speech_s(case.hypothesis.raw)
    if needed <= thresholds.speaking_rate * (case.duration_s + SLACK_S):
        return False
    return case.reference is None or needed > case.reference.speech_s * 1.1


def script_(case: Case, thresholds: Thresholds) -> bool:
    """Text in a script that neither the reference nor its language has."""
    own = _own_scripts(case)
    foreign = case.hypothesis.scripts - own
    if not own or not foreign:
        return False
    share = speech_s(case.hypothesis.raw, foreign) - (1 - LOAN) * speech_s(case.hypothesis.raw, foreign & {"LATIN"})
    return share >= thresholds.script_share * speech_s(case.hypothesis.raw)


def language_(case: Case, thresholds: Thresholds) -> bool:
    """Text in another language of the same script: few words of the reference, and much likelier that language."""
    said, heard = case.reference, case.hypothesis
    if said is None or not case.lang or not said.normalised:
        return False
    if case.lang == "ja":
        han = sum(script(character) == "CJK" for character in heard.normalised)
        return han >= EVIDENCE_HAN and not heard.scripts & KANA and bool(said.scripts & KANA)
    if case.scale > 1 or len(heard.units) < EVIDENCE_WORDS:
        return False
    if 2 * sum(map(said.words.__contains__, heard.units)) > len(heard.units) or heard.scripts - _own_scripts(case):
        return False
    if sum(map(str.isalpha, heard.normalised)) < EVIDENCE_LETTERS:
        return False
    found, expected = odds(heard.as_spelt, case.lang), odds(said.as_spelt, case.lang)
    return found is not None and expected is not None and found[1] >= thresholds.language_odds and expected[1] < 1


RULES = ("ngram_loop", "char_loop", "insertion", "length_ratio", "speaking_rate", "script", "language")
_RULES: dict[str, Callable[[Case, Thresholds], bool]] = dict(
    zip(RULES, (ngram_loop, char_loop, insertion, length_ratio, speaking_rate, script_, language_), strict=True)
)
_RULES_OF_EQUAL_WORDS = {"ngram_loop": swallowed_loop, "char_loop": symbol_loop}  # where the words are the reference's


def named_rules(text: str) -> tuple[str, ...]:
    """The rules in a list with commas. UsageError for an unknown name."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in RULES]:
        raise UsageError(f"--off {text}: no rule {unknown[0]!r}; rules: {', '.join(RULES)}")
    return names


def _rounds(case: Case, period: int, is_short: bool) -> float:
    """Rounds of `period` units in a row, without those that the reference has of that length or in those letters."""
    run, end = loop(case.hypothesis.units, period)
    if case.reference is None:
        return 1 + run / period - (NATURAL_REPEATS - 1 if is_short else 0)
    letters = sum(map(len, case.hypothesis.units[end - period : end]))
    excused = max(own_run(case.reference.units, period) / period, own_run(case.reference.spaceless, letters) / letters)
    return 1 + run / period - excused


def _inserted(case: Case) -> int:
    """Inserted words or characters; letters and digits between characters are whole words."""
    assert case.reference is not None  # the caller has looked
    said, heard = case.reference, case.hypothesis
    if case.scale == 1 or (len(said.mixed) == len(said.units) and len(heard.mixed) == len(heard.units)):
        return aligned(said.normalised, heard.normalised, case.scale > 1).errors.insertions
    return aligned(" ".join(said.mixed), " ".join(heard.mixed), False).errors.insertions


def _own_scripts(case: Case) -> frozenset[str] | set[str]:
    """The scripts of the language and of the reference."""
    own = LANGUAGE_SCRIPTS.get(case.lang, frozenset())
    return own if case.reference is None else own | case.reference.scripts


def _without_round_numbers(text: str) -> str:
    """Zeros at the end of a number go: "one trillion" is 1000000000000 once normalised."""
    return _ROUND.sub("", text) if "00" in text else text


_ROUND = re.compile(r"(?<=[1-9])0{1,15}\b")  # up to a quadrillion
