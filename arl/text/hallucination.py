"""Hallucination by rules on the text: what a recogniser writes that nobody can have said.

    fired("thank you thank you thank you thank you", "thank you", "en") == ("ngram_loop", "insertion", "length_ratio")

The rules of the paper's second reward (arXiv 2509.18569, section 4): repetition (`ngram_loop`, `char_loop`),
non-existent content (`insertion`, `length_ratio`; against the audio `speaking_rate`), translation (`script`,
`language`). stages/reward/hallucination.md defines each and gives its measured precision and recall. Texts are
normalised (`arl.text.normalise`), and text that the hypothesis alone has in brackets counts. Left out: fluent
wrong words as many as the right ones (the error rate has them), and silence, which needs the audio.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from arl.text.languages import odds
from arl.text.loops import inside_words, longest_run, periods
from arl.text.normalise import language, normalise, open_brackets
from arl.text.scripts import DIGIT, LANGUAGE_SCRIPTS, script, scripts, speech_s
from arl.text.wer import counts_characters, units, word_errors

SHORT_UNIT = 3  # words: longer rounds are phrases, which people do not say three times
CHARACTERS_PER_WORD = 2  # of a language whose words are not counted
NATURAL_REPEATS = 3  # "no no no": what speech repeats by itself, where no reference tells
WORDS_PER_DIGIT, LETTERS_PER_DIGIT = 2, 10  # "quatre-vingt-": how much longer a digit of the reference may be spelled
SLACK_S = 0.3  # clips are cut closely, and durations rounded
EVIDENCE_LETTERS = 10  # below, the language of a text cannot be told


@dataclass(frozen=True)
class Thresholds:
    """When each rule fires; `off` names the rules that never do.

    loop_repeats: rounds of 1 to 3 words in a row, beyond the reference's. phrase_repeats: of longer rounds.
    character_repeats: rounds of characters in a word. insertion_rate: inserted per reference word;
    insertion_words: and at least as many. length_ratio: characters per reference character. speaking_rate: times
    the fastest human. script_share: of the hypothesis, by the time to say it, in another script. language_odds:
    how many times likelier another language is.
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


@dataclass(frozen=True)
class Case:
    """One hypothesis with what the rules look at. Texts are normalised, `raw_` ones as given."""

    raw_hypothesis: str
    raw_reference: str | None
    hypothesis: str
    reference: str | None
    lang: str
    duration_s: float | None

    @property
    def scale(self) -> int:
        """Units that make a word."""
        return CHARACTERS_PER_WORD if counts_characters(self.lang) else 1

    @property
    def spelled_digits(self) -> int:
        """Digits of the reference that the hypothesis may have in words."""
        return max(0, _digits(self.reference or "") - _digits(self.hypothesis))


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
    hypothesis = open_brackets(hypothesis, reference)
    known = None if reference is None else normalise(reference, lang)
    case = Case(hypothesis, reference, normalise(hypothesis, lang), known, language(lang), duration_s)
    if case.hypothesis == case.reference:
        return ()
    return tuple(name for name, rule in _RULES.items() if name not in thresholds.off and rule(case, thresholds))


def ngram_loop(case: Case, thresholds: Thresholds) -> bool:
    """Words in a row that repeat, more often than in the reference; where characters count, rounds of 3 or more."""
    heard, scale = units(case.hypothesis, case.lang), case.scale
    shortest = 1 if scale == 1 else CHARACTERS_PER_WORD + 1
    for period in periods(heard, min(thresholds.loop_repeats, thresholds.phrase_repeats)):
        is_short = period <= SHORT_UNIT * scale
        least = thresholds.loop_repeats if is_short else thresholds.phrase_repeats
        if period >= shortest and _repeats_beyond(case, heard, period, is_short) >= least:
            return True
    return False


def char_loop(case: Case, thresholds: Thresholds) -> bool:
    """Characters that repeat inside a word, beyond the reference; where characters count, rounds of 1 or 2."""
    least = thresholds.character_repeats
    if case.scale > 1:
        heard = units(case.hypothesis, case.lang)
        lengths = [n for n in periods(heard, least) if n <= CHARACTERS_PER_WORD]
        return any(_repeats_beyond(case, heard, n, True) >= least for n in lengths)
    for period, repeats in inside_words(_without_round_numbers(case.hypothesis), least):
        excused = NATURAL_REPEATS if case.reference is None else _most_inside_words(case.reference, period)
        if repeats - excused + 1 >= least:
            return True
    return False


def insertion(case: Case, thresholds: Thresholds) -> bool:
    """Words inserted into the reference, which are not its own words written apart or its digits in words."""
    if case.reference is None:
        return False
    errors = word_errors(case.reference, case.hypothesis, case.lang)
    if not errors.length:
        return errors.insertions > 0
    inserted = errors.insertions - WORDS_PER_DIGIT * case.spelled_digits
    if inserted < max(thresholds.insertion_words * case.scale, thresholds.insertion_rate * errors.length):
        return False
    return case.scale > 1 or _inserted_characters(case) >= 2 * inserted


def length_ratio(case: Case, thresholds: Thresholds) -> bool:
    """A hypothesis that is much longer than the reference, in characters, whatever its words are."""
    if not case.reference:
        return False
    longer = _length(case.hypothesis) - LETTERS_PER_DIGIT * case.spelled_digits
    least = 4 * thresholds.insertion_words if case.scale == 1 else thresholds.insertion_words * case.scale
    length = _length(case.reference)
    return longer >= thresholds.length_ratio * length and longer - length >= least


def speaking_rate(case: Case, thresholds: Thresholds) -> bool:
    """More than a human can say in the audio's duration, and more than the reference."""
    if case.duration_s is None:
        return False
    needed = speech_s(case.raw_hypothesis)
    possible = thresholds.speaking_rate * (case.duration_s + SLACK_S)
    return needed > possible and needed > speech_s(case.raw_reference or "") * 1.1


def script_(case: Case, thresholds: Thresholds) -> bool:
    """Text in a script that neither the reference nor its language has."""
    own = LANGUAGE_SCRIPTS.get(case.lang, frozenset()) | scripts(case.raw_reference or "")
    foreign = scripts(case.raw_hypothesis) - own
    if not own or not foreign:
        return False
    return speech_s(case.raw_hypothesis, foreign) >= thresholds.script_share * speech_s(case.raw_hypothesis)


def language_(case: Case, thresholds: Thresholds) -> bool:
    """Text in another language of the same script: few words of the reference, and much likelier that language."""
    if not case.reference or not case.lang or not case.hypothesis:
        return False
    if case.lang == "ja":
        return _chinese_for_japanese(case)
    heard, said = case.hypothesis.split(), set(case.reference.split())
    if sum(map(str.isalpha, case.hypothesis)) < EVIDENCE_LETTERS or counts_characters(case.lang):
        return False
    if len(heard) < 2 or 2 * sum(word in said for word in heard) > len(heard):
        return False
    found, expected = odds(case.hypothesis, case.lang), odds(case.reference, case.lang)
    if found is None or expected is None or found[1] < thresholds.language_odds:
        return False
    return expected[1] < 1


RULES = ("ngram_loop", "char_loop", "insertion", "length_ratio", "speaking_rate", "script", "language")
_RULES: dict[str, Callable[[Case, Thresholds], bool]] = dict(
    zip(RULES, (ngram_loop, char_loop, insertion, length_ratio, speaking_rate, script_, language_), strict=True)
)


def _repeats_beyond(case: Case, heard: list[str], period: int, is_short: bool) -> float:
    """Rounds of `period` units in a row, as many as the reference has of that length taken off."""
    if case.reference is None:
        excused = (NATURAL_REPEATS - 1) * period if is_short else 0
    else:
        excused = longest_run(units(case.reference, case.lang), period)
    return 1 + (longest_run(heard, period) - excused) / period


def _most_inside_words(text: str, period: int) -> float:
    return max((repeats for n, repeats in inside_words(_without_round_numbers(text), 2) if n == period), default=1.0)


def _without_round_numbers(text: str) -> str:
    """Zeros at the end of a number go: "one trillion" is 1000000000000 once normalised."""
    return re.sub(r"(?<=[1-9])0+\b", "", text)


def _inserted_characters(case: Case) -> int:
    """Characters inserted into the reference, spaces left out."""
    from rapidfuzz.distance import Levenshtein

    operations = Levenshtein.editops((case.reference or "").replace(" ", ""), case.hypothesis.replace(" ", ""))
    return sum(operation.tag == "insert" for operation in operations)


def _chinese_for_japanese(case: Case) -> bool:
    """Kanji without any kana, as only Chinese is written, where the reference has kana."""
    kana = {"HIRAGANA", "KATAKANA"}
    own = scripts(case.hypothesis)
    han = sum(script(character) == "CJK" for character in case.hypothesis)
    return han >= 4 and not own & kana and bool(scripts(case.reference or "") & kana)


def _digits(text: str) -> int:
    return sum(script(character) == DIGIT for character in text)


def _length(text: str) -> int:
    return len(text) - text.count(" ")
