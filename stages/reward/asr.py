"""Recognition accuracy of synthesised speech: 1 - WER of what a recogniser hears (the paper's first speech reward).

    arl reward --shards rollout/ --shards wav/ --with asr
    arl reward --shards rollout/ --with 'asr --by tokens --model token-asr --first 44'
    python asr.py --unit char < utterances.jsonl

By Whisper on the waveform, or by a small recogniser on the tokens, which needs no waveform. asr.md has the rest.
"""

import functools
import math

from arl import reward


@functools.cache
def token_asr(folder):
    from pathlib import Path

    from arl.models.token_asr.model import load

    return load(Path(folder))


def heard_in_tokens(hyps, folder, first):
    """The transcript of each hypothesis's acoustic tokens; other tokens, such as the stop token, are dropped."""
    from arl.models.codes import codes_of

    recogniser = token_asr(folder)
    return recogniser.transcribe([codes_of(hyp.tokens, first, recogniser.n_codes) for hyp in hyps])


def in_letters(ref):
    """The reference in the recogniser's letters; normalised where it has others, which no policy of ours can say."""
    from arl.errors import ArlError
    from arl.text.letters import spoken
    from arl.text.normalise import normalise

    try:
        return spoken(ref)
    except ArlError:
        return normalise(ref, "en")


def heard_in_waves(hyps, folder, device):
    """The transcript of each hypothesis's waveform, None where there is none or it cannot be read."""
    from pathlib import Path

    from arl.audio.judge import Judge
    from arl.audio.waves import read_waves

    waves = read_waves(hyps, "asr")
    present = [wave for wave in waves if wave is not None]
    texts = iter(Judge.load(Path(folder) if folder else None, device).transcribe(present) if present else [])
    return [None if wave is None else next(texts) for wave in waves]


@reward
def asr(
    utterance,
    by: str = "whisper",
    model: str = "",
    first: int = -1,
    unit: str = "word",
    floor: float = -math.inf,
    device: str = "cpu",
):
    from arl.errors import UsageError
    from arl.text.normalise import normalise, open_brackets
    from arl.text.wer import aligned, counts_characters

    if by not in ("whisper", "tokens") or unit not in ("word", "char"):
        raise UsageError(f"asr --by {by} --unit {unit}: --by whisper or tokens, --unit word or char")
    if by == "tokens" and (not model or first < 0):
        raise UsageError("asr --by tokens needs --model, the recogniser's folder, and --first, the id of code 0")
    hyps, ref, lang = utterance.hyps, utterance.ref, utterance.lang
    characters = unit == "char" or counts_characters(lang)
    if by == "tokens":  # it hears letters, so numbers stay words
        said, texts = in_letters(ref), heard_in_tokens(hyps, model, first)
    else:
        said, heard = normalise(ref, lang), heard_in_waves(hyps, model, device)
        texts = [None if text is None else normalise(open_brackets(text, ref), lang) for text in heard]
    errors = [None if text is None else aligned(said, text, characters).errors for text in texts]
    metrics = {
        name: [None if one is None else getattr(one, name) for one in errors]
        for name in ("substitutions", "deletions", "insertions", "length")
    }
    return [None if one is None else max(floor, 1 - one.rate) for one in errors], metrics


if __name__ == "__main__":
    asr.main()
