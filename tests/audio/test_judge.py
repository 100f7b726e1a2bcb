"""Whisper as the judge of speech, on synthetic speech; its weights come as a package, once."""

import pytest

from arl.audio.io import encode_flac
from arl.rewards.programs.resolve import resolve
from arl.rewards.programs.utterance import RewardHypothesis, Utterance
from arl.shards.place import AudioSlice

SAID = "please leave a message after the tone"


@pytest.mark.registry
def test_the_reward_is_what_whisper_hears(tmp_path, capsys):
    pytest.importorskip("hibari")
    from arl.audio.judge import Judge
    from arl.data.corpora.synthetic import clean_speech

    def clip(name: str, content: bytes) -> AudioSlice:
        (tmp_path / name).write_bytes(content)
        return AudioSlice(str(tmp_path / name), 0, len(content))

    wave = clean_speech(SAID, 1)
    said, cut, broken = clip("said", encode_flac(wave)), clip("cut", encode_flac(wave[:8000])), clip("broken", b"no")
    hyps = [RewardHypothesis("", [7], wav=wav) for wav in (said, None, broken, cut)]
    with resolve("asr").open() as program:
        program.send(Utterance("u", SAID, "en", hyps))
        found = program.receive()
    assert found.rewards[:3] == [1.0, None, None] and found.rewards[3] < 0.5
    assert found.metrics["deletions"][3] >= 5 and found.metrics["length"][0] == 7
    assert capsys.readouterr().err.count("excluded") == 1
    assert Judge.load(None).transcribe([wave[:0], wave])[0] == ""
