"""The metrics of recognition.

WER, Sub, Del, Ins are per reference word (per character where the language has no spaces: then WER is CER); keyword
recall, precision and F1 are over all keyword occurrences of the set; hallucination rates are per utterance.
"""

from collections.abc import Callable

from arl.evaluation.metric import Metric, Row
from arl.text.hallucination import RULES

WRONG = ("substitutions", "deletions", "insertions")
WORDS = ("substitutions", "deletions", "hits")
FOUND, EXPECTED, HEARD = "keywords_matched", "keywords_in_reference", "keywords_in_hypothesis"


def total(*names: str) -> Callable[[Row], int]:
    """The sum of these counts of a row; a count named twice counts twice."""
    return lambda row: sum(row[name] for name in names)


def one(row: Row) -> int:
    """Every utterance counts as one."""
    return 1


def rule_rate(rule: str) -> Metric:
    """The part of the utterances in which this hallucination rule fires."""
    return Metric(rule, f"  {rule}", lambda row: rule in row["rules"], one, factor=100)


WER = Metric("wer", "WER", total(*WRONG), total(*WORDS), factor=100, test="numerators")
METRICS = (
    WER,
    Metric("substitution_rate", "Sub", total("substitutions"), total(*WORDS), factor=100),
    Metric("deletion_rate", "Del", total("deletions"), total(*WORDS), factor=100),
    Metric("insertion_rate", "Ins", total("insertions"), total(*WORDS), factor=100),
    Metric("keyword_recall", "keyword recall", total(FOUND), total(EXPECTED), factor=100),
    Metric("keyword_precision", "keyword precision", total(FOUND), total(HEARD), factor=100),
    Metric("keyword_f1", "keyword F1", total(FOUND, FOUND), total(EXPECTED, HEARD), factor=100),
    Metric("hallucination_rate", "hallucinated", lambda row: bool(row["rules"]), one, factor=100),
)
RULE_METRICS = tuple(map(rule_rate, RULES))
