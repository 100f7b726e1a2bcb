"""Naturalness: the mean opinion score that listeners would give, as predicted by DistillMOS, 1 to 5.

    arl reward --shards rollout/ --shards wav/ --with asr --with mos=0.2
    python mos.py < utterances.jsonl

Needs the extra `tts`. mos.md says what it hears.
"""

from arl import reward


@reward
def mos(utterance, device: str = "cpu"):
    from arl.audio.quality import mos as predicted
    from arl.audio.waves import read_waves

    waves = read_waves(utterance.hyps, "mos")
    scores = iter(predicted([wave for wave in waves if wave is not None], device))
    return [None if wave is None else next(scores) for wave in waves]


if __name__ == "__main__":
    mos.main()
