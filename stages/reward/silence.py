"""Words in silence, a gate: 1 where more is said than fits into the speech that a voice-activity detector hears.

    arl reward --shards rollout/ --with wer --gate hallucination=-1 --gate silence=-1
    python silence.py --speaking-rate 0.8 < utterances.jsonl

Needs the audio and the extra `vad` (silero-vad, whose wheel has its model). silence.md has the rule. Audio that cannot
be read excludes its group, and is named on stderr; an utterance without audio is an error.
"""

import functools
import sys

from arl import reward


@functools.lru_cache(maxsize=100_000)
def heard_s(clip):
    """Seconds of speech in an audio file, None when it cannot be decoded. Every step sees the same clips again."""
    from arl.audio.io import load
    from arl.audio.vad import speech_seconds
    from arl.errors import ArlError

    data = clip.read()
    try:
        return speech_seconds(load(data, name=f"{clip.path} at byte {clip.offset}"))
    except ArlError as error:
        print(f"silence: {error}; its group is excluded", file=sys.stderr)
        return None


@reward
def silence(utterance, speaking_rate: float = 1.0, slack_s: float = 0.3):
    from arl.errors import ArlError
    from arl.text.scripts import speech_s

    if utterance.audio is None:
        raise ArlError(f"utterance {utterance.key!r} has no audio; name its shards: --shards data/train")
    heard = heard_s(utterance.audio)
    if heard is None:
        return [None] * len(utterance.hyps)
    possible = max(speaking_rate * (heard + slack_s) if heard else 0.0, 1.1 * speech_s(utterance.ref))
    needed = [speech_s(hyp.text) for hyp in utterance.hyps]
    metrics = {"heard_s": [heard] * len(needed), "needed_s": needed}
    return [int(seconds > possible) for seconds in needed], metrics


if __name__ == "__main__":
    silence.main()
