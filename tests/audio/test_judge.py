"""Whisper as the judge of speech, on synthetic speech; its weights come as a package, once."""

import pytest

from arl.audio.io import encode_flac
from arl.errors import ArlError
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


def test_a_damaged_checkpoint_is_one_line(tmp_path):
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    from arl.audio.judge import refuse_damaged

    sizes = {f"{side}_{what}": 1 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    ids = dict.fromkeys(("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id"), 1)
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=8, d_model=8, **sizes, **ids))
    model.save_pretrained(tmp_path)
    load = WhisperForConditionalGeneration.from_pretrained
    refuse_damaged(*load(tmp_path, output_loading_info=True), tmp_path)
    file, name = tmp_path / "model.safetensors", "model.encoder.conv1.weight"
    whole = load_file(file)
    for tensors, said in (
        ({key: tensor for key, tensor in whole.items() if key != name}, "is missing"),
        ({**whole, name: whole[name] * torch.nan}, "has NaN or infinite values"),
    ):
        save_file(tensors, file, metadata={"format": "pt"})
        with pytest.raises(ArlError, match=f"tensor {name} {said}: take the checkpoint from its source again"):
            refuse_damaged(*load(tmp_path, output_loading_info=True), tmp_path)
