"""Diversity: how far a hypothesis is from the others of its group, and how much its pitch moves (the paper's third
speech reward).

    arl reward --shards rollout/ --shards wav/ --with asr --with diversity=0.3
    python diversity.py --part tokens --mean others < utterances.jsonl

Normalised edit distance of the tokens plus the standard deviation of the normalised F0, in octaves. The tokens part
needs no waveform. diversity.md has all definitions.
"""

from arl import reward


@reward
def diversity(utterance, part: str = "both", mean: str = "group"):
    from arl.errors import UsageError
    from arl.text.diversity import group_distances, own_length_distances, spoken

    if part not in ("both", "tokens", "pitch"):
        raise UsageError(f"--part {part}: both, tokens or pitch")
    if mean not in ("group", "others"):
        raise UsageError(f"--mean {mean}: group or others")
    distances = group_distances if mean == "others" else own_length_distances
    parts = {}
    if part != "pitch":
        parts["tokens"] = distances([spoken(hyp.tokens, hyp.finish) for hyp in utterance.hyps])
    if part != "tokens":
        from arl.audio.pitch import pitch_std
        from arl.audio.waves import read_waves

        waves = read_waves(utterance.hyps, "diversity")
        parts["pitch"] = [None if wave is None else pitch_std(wave) for wave in waves]
    sums = [None if None in values else sum(values) for values in zip(*parts.values(), strict=True)]
    return sums, parts


if __name__ == "__main__":
    diversity.main()
