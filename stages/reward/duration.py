"""Duration: how far a hypothesis's length is from the median of its group, negative (the paper's second speech reward).

    arl reward --shards rollout/ --with 'asr --by tokens --model asr --first 44' --with duration
    python duration.py --of audio < utterances.jsonl

-|n - median| / median over the group's numbers of tokens, or of seconds with `--of audio`. duration.md has the counts.
"""

import statistics
import sys

from arl import reward


def seconds(hyp):
    """Length of the hypothesis's waveform, None where there is none or it cannot be read."""
    from arl.audio.io import duration as duration_s
    from arl.errors import ArlError

    if hyp.wav is None:
        return None
    try:
        return duration_s(hyp.wav.read(), f"{hyp.wav.path} at byte {hyp.wav.offset}")
    except (ArlError, OSError) as error:
        print(f"duration: {error}; excluded", file=sys.stderr)
        return None


@reward
def duration(utterance, of: str = "tokens"):
    from arl.errors import UsageError
    from arl.text.diversity import spoken

    if of not in ("tokens", "audio"):
        raise UsageError(f"--of {of}: tokens or audio")
    lengths = [len(spoken(hyp.tokens, hyp.finish)) if of == "tokens" else seconds(hyp) for hyp in utterance.hyps]
    known = [length for length in lengths if length is not None]
    median = statistics.median(known) if known else 0
    metrics = {"tokens" if of == "tokens" else "seconds": lengths}
    if median == 0:  # more than half of the group said nothing: no length to compare with
        return [None] * len(lengths), metrics
    return [None if length is None else -abs(length - median) / median for length in lengths], metrics


if __name__ == "__main__":
    duration.main()
