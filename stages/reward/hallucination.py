"""Hallucination, a gate: 1 where any of the rules on the text fires (the paper's second reward, which is then -1).

    arl reward --shards rollout/ --with wer --gate hallucination=-1
    python hallucination.py --insertion-rate 1 --off script,language < utterances.jsonl

Each rule is a metric, 1 where it fired. hallucination.md defines the rules and what they miss.
"""

from arl import reward


@reward(pure=True)
def hallucination(
    utterance,
    loop_repeats: float = 4.0,
    phrase_repeats: float = 3.0,
    character_repeats: int = 6,
    insertion_rate: float = 0.5,
    insertion_words: int = 3,
    length_ratio: float = 2.0,
    speaking_rate: float = 1.0,
    script_share: float = 0.4,
    language_odds: float = 20.0,
    off: str = "",
):
    from arl.text.hallucination import RULES, Thresholds, fired, named_rules

    thresholds = Thresholds(
        loop_repeats, phrase_repeats, character_repeats, insertion_rate, insertion_words, length_ratio, speaking_rate,
        script_share, language_odds, named_rules(off),
    )  # fmt: skip
    duration_s = utterance.duration_s
    found = [fired(hyp.text, utterance.ref, utterance.lang, duration_s, thresholds) for hyp in utterance.hyps]
    metrics = {rule: [int(rule in names) for names in found] for rule in RULES if rule not in thresholds.off}
    return [int(bool(names)) for names in found], metrics


if __name__ == "__main__":
    hallucination.main()
