"""Emotion, style, accent: how likely synthesised speech has a label, by an audio classifier of transformers.

    arl reward --shards rollout/ --shards wav/ --with asr --with 'emotion --model CHECKPOINT --label happy=0.3'
    python emotion.py --model CHECKPOINT --field emotion < utterances.jsonl

The label is that of `--label`, or the utterance's own, in its field of `--field`. emotion.md has the rest.
"""

import sys

from arl import reward


def wanted(utterance, label, field, labels, model):
    """The label of the checkpoint that an utterance should have; None, with a line on stderr, where it names none."""
    from arl.audio.labels import matching, refused

    if label:
        found = matching(label, labels)
        if found is None:
            raise refused(label, labels, model)
        return found
    own = utterance.meta.get(field)
    found = matching(own, labels) if isinstance(own, str) else None
    if found is None:
        said = "no field" if own is None else f"{own!r} in field"
        print(f"emotion: {utterance.key}: {said} {field!r}, not one of {', '.join(labels)}; excluded", file=sys.stderr)
    return found


@reward
def emotion(utterance, model: str = "", label: str = "", field: str = "", device: str = "cpu"):
    from arl.audio.io import SAMPLE_RATE
    from arl.audio.labels import SHORTEST_S, label_probabilities, labels_of
    from arl.audio.waves import read_waves
    from arl.errors import UsageError

    if not model or bool(label) == bool(field):
        raise UsageError("emotion needs --model, a checkpoint, and --label NAME or --field NAME, one of the two")
    name = wanted(utterance, label, field, labels_of(model, device), model)
    if name is None:
        return [None] * len(utterance.hyps)
    waves = read_waves(utterance.hyps, "emotion")
    heard = [
        None if wave is None or len(wave) < SHORTEST_S * SAMPLE_RATE else label_probabilities(model, wave, device)
        for wave in waves
    ]
    first = [None if one is None else int(max(one, key=one.__getitem__) == name) for one in heard]
    return [None if one is None else one[name] for one in heard], {"is_first": first}


if __name__ == "__main__":
    emotion.main()
