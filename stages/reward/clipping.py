"""Faults of a waveform, a gate: 1 where it is clipped, silent, or has a long gap.

    arl reward --shards rollout/ --shards wav/ --with asr --gate clipping=-1
    python clipping.py --gap-s 2 --off clipped < utterances.jsonl

Each rule is a metric, 1 where it fired. clipping.md defines the rules.
"""

from arl import reward


@reward(pure=True)
def clipping(
    utterance,
    clip_share: float = 0.001,
    silent_db: float = -50.0,
    gap_s: float = 1.0,
    gap_db: float = 40.0,
    off: str = "",
):
    from arl.audio.faults import RULES, Limits, faults
    from arl.audio.waves import read_waves
    from arl.errors import UsageError

    named = frozenset(filter(None, off.split(",")))
    if unknown := sorted(named - set(RULES)):
        raise UsageError(f"clipping --off: no rule {unknown[0]!r}; rules: {', '.join(RULES)}")
    limits = Limits(clip_share, silent_db, gap_s, gap_db, named)
    waves = read_waves(utterance.hyps, "clipping")
    found = [None if wave is None else faults(wave, limits) for wave in waves]
    metrics = {
        rule: [None if names is None else int(rule in names) for names in found] for rule in RULES if rule not in named
    }
    return [None if names is None else int(bool(names)) for names in found], metrics


if __name__ == "__main__":
    clipping.main()
