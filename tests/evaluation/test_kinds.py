"""Which kind of evaluation a command line is: by the policy, by the shards, and what contradicts it."""

import json
from pathlib import Path

import pytest

from arl.errors import UsageError
from arl.evaluation.folder import write
from arl.evaluation.kinds import kind_of, kind_of_folder
from arl.evaluation.options import EvalOptions, RecognitionOptions
from arl.shards.columns import EMB, META, NO_WAVE, PROMPT, ROLLOUT, dumps
from arl.shards.writer import write_shard

MEMBERS = {
    "texts": {META: dumps({"text": "please hold"}), PROMPT: dumps({"input_ids": [1], "voice": "anna"})},
    "audio": {META: dumps({"text": "please hold"}), "flac": b"x"},
    "emb": {EMB: b"x", PROMPT: dumps({"input_ids": [1]})},
    "rollout": {ROLLOUT: dumps({"hyps": []})},
    "wav": {"00.flac": b"x"},
    "failed": {NO_WAVE: dumps({"error": "too long"})},
}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of shards for each of MEMBERS, and the policies asr and tts."""
    monkeypatch.chdir(tmp_path)
    for name, members in MEMBERS.items():
        write_shard(tmp_path / name / "000000.tar", [("a", members)])
    for name in ("asr", "tts"):
        fields = {"family": "x", "version": "0", "step": 0, "prompt": [], "audio_token_id": 0, "eos_token_id": 0}
        Path(name).mkdir()
        Path(name, "arl.json").write_text(json.dumps(fields | {"task": name}))


def kind(*sources: str, policy: str | None = None, given: tuple[str, ...] = (), **recognition: Path) -> str:
    own, where = RecognitionOptions(**recognition), Path(policy) if policy else None  # type: ignore[arg-type]
    return kind_of(EvalOptions({"": sources}, policy=where, given=frozenset(given), recognition=own)).name


def test_by_the_shards() -> None:
    assert kind("texts", "rollout", "wav") == "synthesis"
    assert kind("texts", "rollout") == "synthesis"  # tokens alone
    assert kind("texts", "rollout", "failed") == "synthesis"  # the first waveform could not be made
    assert kind("audio", transcripts=Path("them.tsv")) == "recognition"


def test_by_the_policy() -> None:
    assert kind("emb", policy="asr") == "recognition"
    assert kind("emb", "rollout", policy="asr") == "recognition"  # rollouts of transcripts
    assert kind("texts", "rollout", "wav", policy="tts") == "synthesis"
    (Path("emb") / "stage.jsonl").write_text(json.dumps({"shard": "000000", "policy_path": "../asr"}) + "\n")
    assert kind("emb") == "recognition"


def test_policy_and_shards_that_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="tts synthesises, and these shards have no rollouts: `arl rollout` and"):
        kind("texts", policy="tts")
    with pytest.raises(UsageError, match="asr recognises, and these shards are synthesised speech; leave --policy out"):
        kind("texts", "rollout", "wav", policy="asr")
    with pytest.raises(UsageError, match="no record of the policy"):
        kind("emb")


def test_flags_of_the_other_kind() -> None:
    with pytest.raises(UsageError, match="--voices is for synthesis; this is an evaluation of recognition"):
        kind("emb", policy="asr", given=("policy", "voices"))
    with pytest.raises(UsageError, match="--max-new-tokens is for recognition; this is an evaluation of synthesis"):
        kind("texts", "rollout", "wav", given=("out", "max_new_tokens", "samples"))


def test_of_a_finished_evaluation() -> None:
    for name, row in (("recognition", {"hypothesis": ""}), ("synthesis", {"hyps": []})):
        write(Path(name), [row], {})
        assert kind_of_folder(Path(name)).name == name
