"""Speaker similarity: the cosine between speaker embeddings of the hypothesis and of the voice it should have.

    arl reward --shards rollout/ --shards wav/ --with asr --with 'similarity --reference voice.flac=0.5'
    arl reward --shards rollout/ --shards wav/ --with 'similarity --model campplus.onnx=0.5'
    python similarity.py --reference voice.flac < utterances.jsonl

The voice is the utterance's own audio, else the file of `--reference`. `--model`: another speaker model than the
packaged one. Needs the extra `tts`. similarity.md has the rest.
"""

import functools
import sys

from arl import reward


def embedded(samples, model, device):
    """The embedding of samples, None where they are too short or silent."""
    if model:
        from arl.audio.speaker_models import embedding_by

        return embedding_by(model, samples, device)
    from arl.audio.speaker import embedding

    return embedding(samples, device)


@functools.lru_cache(maxsize=10_000)
def voice(source, model, device):
    """The embedding of an AudioSlice or the file at a path; None, with a line on stderr, where there is none."""
    from pathlib import Path

    from arl.audio.io import load
    from arl.audio.waves import read_wave

    samples = load(Path(source)) if isinstance(source, str) else read_wave(source, "similarity: reference")
    found = None if samples is None else embedded(samples, model, device)
    if found is None and samples is not None:
        print(f"similarity: reference {source}: under 0.4 s, or silent; its group is excluded", file=sys.stderr)
    return found


@reward
def similarity(utterance, reference: str = "", model: str = "", device: str = "cpu"):
    from arl.audio.speaker import cosine
    from arl.audio.waves import read_waves
    from arl.errors import UsageError

    source = utterance.audio or reference
    if not source:
        raise UsageError(f"utterance {utterance.key!r} has no audio to compare with; name a voice: --reference FILE")
    own = voice(source, model, device)
    if own is None:
        return [None] * len(utterance.hyps)
    waves = read_waves(utterance.hyps, "similarity")
    said = [None if wave is None else embedded(wave, model, device) for wave in waves]
    return [None if one is None else cosine(one, own) for one in said]


if __name__ == "__main__":
    similarity.main()
