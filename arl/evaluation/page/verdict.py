"""The page's headline: what changed on held-out data, with its interval, in a sentence.

    verdict(compared(run), history(run)).title    # "Word errors fell by 7.7 %"

A change whose 95 % interval holds 0 is called none. Left out: other metrics than the first of `LEADING` that both
evaluations have; they are in the table below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from arl.evaluation.metric import Metric
from arl.evaluation.page.compared import Compared
from arl.evaluation.page.history import Step
from arl.evaluation.recognition.kind import RECOGNITION
from arl.evaluation.render import Summary
from arl.text.wer import counts_characters

LEADING = {  # (in words, whether more is better)
    "wer": ("Word errors", False),
    "cer": ("Character errors", False),
    "mos": ("Predicted naturalness", True),
    "similarity": ("Speaker similarity", True),
}
COVERS = "The interval covers the choice of these utterances; another seed of training is not in it."


@dataclass(frozen=True)
class Verdict:
    """title: the headline. detail: figures and interval. label, before, after: of the big numbers, "" for none.
    tone: "better", "worse" or "same"."""

    title: str
    detail: str
    label: str = ""
    before: str = ""
    after: str = ""
    tone: str = "same"


def verdict(found: Compared | None, steps: Sequence[Step]) -> Verdict:
    """The headline of a run; of one without two evaluations, how far it is."""
    metric = next((one for one in found.kind.metrics if _is_leading(one, found)), None) if found else None
    if found is None or metric is None:
        return _progress(steps)
    change = _changes(found, found.result)[metric.name]
    words, is_more_better = LEADING[metric.name]
    words = "Character errors" if _counts_characters(found) else words
    is_sure = change["change_low"] > 0 or change["change_high"] < 0
    rises = change["change"] > 0
    tone = "same" if not is_sure else "better" if rises == is_more_better else "worse"
    size, interval = _size(found.result, metric, change)
    verb = "rose" if rises else "fell"
    title = f"{words} {verb} by {size}" if is_sure else f"{words}: no reliable change"
    p = found.result.get("p", change.get("p"))
    tested = "" if p is None else f", p = {p:.2g}"
    detail = (
        f"On {len(found.new)} held-out utterances, after {len(steps)} steps: {interval}{tested}. "
        f"{'' if is_sure else 'The interval holds 0: this may be chance. '}{_by_set(found, metric)}{COVERS}"
    )
    unit = " %" if metric.factor == 100 else ""
    label = metric.label.removesuffix(", %")
    before, after = (metric.number(change[end]) + unit for end in ("a", "b"))
    return Verdict(title, detail, label, before, after, tone)


def _is_leading(metric: Metric, found: Compared) -> bool:
    own = _changes(found, found.result).get(metric.name)
    return metric.name in LEADING and own is not None and own["change_low"] is not None


def _changes(found: Compared, result: Summary) -> Summary:
    """By metric, of a comparison: that of all utterances, or of a set's."""
    return result["metrics"] if found.kind is RECOGNITION else result


def _by_set(found: Compared, metric: Metric) -> str:
    """The change on each named set, where they are several."""
    sets = found.result["sets"] if len(found.result["sets"]) > 1 else {}
    changes = {name: _changes(found, result).get(metric.name) for name, result in sets.items()}
    known = {name: change for name, change in changes.items() if change and change["change_low"] is not None}
    return "".join(f"On {name}: {_size(sets[name], metric, change)[1]}. " for name, change in known.items())


def _counts_characters(found: Compared) -> bool:
    """Whether every utterance is of a language whose errors are counted in characters."""
    return found.kind is RECOGNITION and all(counts_characters(row["lang"]) for row in found.new)


def _size(result: Summary, metric: Metric, change: Summary) -> tuple[str, str]:
    """How large the change is, and its interval in words: relative where the comparison has that."""
    if metric.name == "wer" and result.get("relative") is not None:
        value, low, high = (100 * result[name] for name in ("relative", "relative_low", "relative_high"))
        size = f"{abs(value):.1f} %"
        interval = f"relative change {value:+.1f} % (95 % interval {low:+.1f} … {high:+.1f} %)"
    else:
        unit = " points" if metric.factor == 100 else ""
        size = metric.number(abs(change["change"])) + unit
        span = metric.span(change["change_low"], change["change_high"], "+")
        interval = f"change {metric.number(change['change'], '+')}{unit} (95 % interval {span})"
    return size, interval.replace("-", "\N{MINUS SIGN}")


def _progress(steps: Sequence[Step]) -> Verdict:
    if not steps:
        return Verdict("No step is finished yet", "The page fills as the loop goes on.")
    rewards = [step.row["reward"] for step in steps if step.row.get("reward") is not None]
    count = f"{len(steps)} steps" if len(steps) > 1 else "1 step"
    detail = "There is no second evaluation on held-out data yet, so nothing is claimed."
    if not rewards:
        return Verdict(f"{count} done", detail)
    return Verdict(f"{count} done", detail, "Reward", f"{rewards[0]:.3f}", f"{rewards[-1]:.3f}")
