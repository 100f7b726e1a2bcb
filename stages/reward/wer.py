"""Recognition accuracy: 1 - WER (the paper's R1), or 1 - CER for languages written without spaces.

    arl reward --shards rollout/ --with wer
    arl reward --shards rollout/ --with wer=0.5 --with 'wer --characters=0.5'
    python wer.py --floor -1 < utterances.jsonl

Insertions can take it below 0; `--floor` limits that. The normaliser ignores text in brackets, so a policy
could hide words there: in a hypothesis only the tags that the reference has too are ignored.
"""

import math

from arl import reward


@reward(pure=True)
def wer(utterance, floor: float = -math.inf, characters: bool = False):
    from arl.text.normalise import open_brackets
    from arl.text.wer import word_errors_batch

    ref = utterance.ref
    texts = [open_brackets(hyp.text, ref) for hyp in utterance.hyps]
    errors = word_errors_batch([ref] * len(texts), texts, utterance.lang, characters)
    metrics = {
        "substitutions": [e.substitutions for e in errors],
        "deletions": [e.deletions for e in errors],
        "insertions": [e.insertions for e in errors],
        "length": [e.length for e in errors],
    }
    return [max(floor, 1 - e.rate) for e in errors], metrics


if __name__ == "__main__":
    wer.main()
