"""Keywords: the mean of recall and precision over the utterance's keywords (the paper's third reward).

    arl reward --shards rollout/ --with wer --with keyword=0.5
    python keyword_.py < utterances.jsonl

Where the reference has none of them, every hypothesis gets 0: within the group that is neutral. keyword.md has the
exact counts.
"""

from arl import reward


@reward(pure=True)
def keyword(utterance):
    from arl.text.keywords import keyword_counts

    counts = [
        keyword_counts(utterance.keywords, utterance.ref, hyp.text, utterance.lang) for hyp in utterance.hyps
    ]  # fmt: skip
    metrics = {
        "matched": [c.matched for c in counts],
        "in_reference": [c.in_reference for c in counts],
        "in_hypothesis": [c.in_hypothesis for c in counts],
    }
    return [((c.recall or 0.0) + (c.precision or 0.0)) / 2 for c in counts], metrics


if __name__ == "__main__":
    keyword.main()
