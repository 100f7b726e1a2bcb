"""Recognition accuracy of synthesised speech: 1 - WER of what a recogniser hears (the paper's first speech reward).

    arl reward --shards rollout/ --shards wav/ --with asr
    arl reward --shards rollout/ --shards wav/ --with 'asr --by http --url http://localhost:8000/v1 --model NAME'
    arl reward --shards rollout/ --with 'asr --by tokens --model token-asr --first 44'
    python asr.py --unit char < utterances.jsonl

By Whisper, a recognition policy or a transcription server on the waveform, or by a small recogniser on the tokens,
which needs no waveform. asr.md has the rest.
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
    from arl.text.letters import Unspoken, readable
    from arl.text.normalise import normalise

    try:
        return readable(ref)
    except Unspoken:
        return normalise(ref, "en")


def heard_by_whisper(waves, clips, lang, model, device):
    from pathlib import Path

    from arl.audio.judge import Judge

    return Judge.load(Path(model) if model else None, device).transcribe(waves)


def heard_by_policy(waves, clips, lang, model, device):
    from pathlib import Path

    from arl.models.recogniser import Recogniser

    return Recogniser.load(Path(model), device).transcribe(clips, lang)


def heard_by_server(waves, clips, lang, model, settings):
    from arl.audio.transcription_server import TranscriptionServer
    from arl.text.tags import language

    code = language(lang)
    return TranscriptionServer.opened(*settings).transcribe(clips, code if len(code) == 2 else "")


HEARD = {"policy": heard_by_policy, "http": heard_by_server, "whisper": heard_by_whisper}


def heard_in_waves(hyps, by, lang, model, setting):
    """The transcript of each hypothesis's waveform, None where there is none, or it cannot be read or recognised."""
    from arl.audio.waves import read_waves

    waves = read_waves(hyps, "asr")
    there = [place for place, wave in enumerate(waves) if wave is not None]
    texts = [None] * len(waves)
    if there:
        clips = [hyps[place].wav.read() for place in there]
        found = HEARD[by]([waves[place] for place in there], clips, lang, model, setting)
        for place, text in zip(there, found, strict=True):
            texts[place] = text
    return texts


def check(by, unit, model, first, url, lang):
    from arl.errors import UsageError
    from arl.text.tags import language

    if by not in ("tokens", *HEARD) or unit not in ("word", "char", "pinyin"):
        recognisers = f"--by {', '.join(HEARD)} or tokens"
        raise UsageError(f"asr --by {by} --unit {unit}: {recognisers}, --unit word, char or pinyin")
    if by == "tokens" and (not model or first < 0):
        raise UsageError("asr --by tokens needs --model, the recogniser's folder, and --first, the id of code 0")
    if by == "policy" and not model:
        raise UsageError("asr --by policy needs --model, the folder of a recognition policy")
    if by == "http" and not url:
        raise UsageError("asr --by http needs --url, the server's address, such as http://localhost:8000/v1")
    if unit == "pinyin" and (by == "tokens" or language(lang) not in ("zh", "")):
        raise UsageError(f"asr --unit pinyin: for waveforms of Mandarin (zh); this is --by {by}, language {lang!r}")


@reward
def asr(
    utterance,
    by: str = "whisper",
    model: str = "",
    first: int = -1,
    unit: str = "word",
    floor: float = -math.inf,
    device: str = "cpu",
    url: str = "",
    key_env: str = "ARL_ASR_KEY",
    timeout: float = 60.0,
    requests: int = 16,
):
    from arl.text.normalise import normalise, open_brackets
    from arl.text.wer import aligned, counts_characters

    hyps, ref, lang = utterance.hyps, utterance.ref, utterance.lang
    check(by, unit, model, first, url, lang)
    characters = unit == "char" or (unit == "word" and counts_characters(lang))
    if by == "tokens":  # it hears letters, so numbers stay words
        said, texts = in_letters(ref), heard_in_tokens(hyps, model, first)
    else:
        setting = (url, model, key_env, timeout, requests) if by == "http" else device
        said, heard = normalise(ref, lang), heard_in_waves(hyps, by, lang, model, setting)
        texts = [None if text is None else normalise(open_brackets(text, ref), lang) for text in heard]
    if unit == "pinyin":
        from arl.text.pinyin import syllables

        said, texts = syllables(said), [None if text is None else syllables(text) for text in texts]
    errors = [None if text is None else aligned(said, text, characters).errors for text in texts]
    metrics = {
        name: [None if one is None else getattr(one, name) for one in errors]
        for name in ("substitutions", "deletions", "insertions", "length")
    }
    return [None if one is None else max(floor, 1 - one.rate) for one in errors], metrics


if __name__ == "__main__":
    asr.main()
