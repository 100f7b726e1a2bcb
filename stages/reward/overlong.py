"""Overlong: below 0 for a hypothesis that comes near its limit of tokens, or null for one that was cut there.

    arl reward --shards rollout/ --with wer --with 'overlong --limit 64'
    arl reward --shards rollout/ --with wer --with 'overlong --filter=0'
    python overlong.py --limit 64 < utterances.jsonl

DAPO's soft punishment and overlong filter (arXiv 2503.14476, section 3.4). overlong.md has the formula.
"""

from arl import reward


@reward(pure=True)
def overlong(utterance, limit: int = 256, cache: int = 0, filter: bool = False):
    from arl.errors import UsageError

    if filter:
        return [None if hyp.finish == "length" else 0.0 for hyp in utterance.hyps]
    cache = cache or max(1, limit // 5)
    if not 0 < cache <= limit:
        raise UsageError(f"overlong --limit {limit} --cache {cache}: the cache is the last tokens of the limit")
    return [max(-1.0, min(0.0, (limit - cache - len(hyp.tokens)) / cache)) for hyp in utterance.hyps]


if __name__ == "__main__":
    overlong.main()
