"""CosyVoice2 and 3 through every stage with the real engine, from the folder as it is downloaded to a trained llm.pt.

Tiny and random. Version 2's head has a bias that decides when a response ends: it counts in engine and trainer alike.
"""

import io
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_joined
from arl.train.data import rl_batch
from arl.train.load import load_llm
from arl.train.shared_prefix import shared_log_probs
from tests.docs.pages import shell_lines, shown_program
from tests.in_process import arl
from tests.models.cosyvoice_checkpoints import CODES, make_cosyvoice
from tests.models.onnx_files import write_speaker_model, write_tokenizer

pytestmark = pytest.mark.engine

TEXTS = ["the hen", "he", "they go there", "hello"]
GROUP, LONGEST = 3, 16
HEAD = """
class Calm:
    def rewards(self, onehots, lengths, texts):
        assert onehots.shape[2] == 6561
        return onehots[..., 0].sum(1) / lengths
"""


def to_rewards(at: Path, engine: Path, checkpoint: Path, texts: list[str], *rewards: object) -> tuple[object, ...]:
    """policy, texts, emb, rollout, wav and reward in `at`; the words that join what an update reads."""
    (at / "texts.txt").write_text("\n".join(texts))
    emb, rollout, wav, reward = (("--shards", at / name) for name in ("emb", "rollout", "wav", "reward"))
    arl("init", "--from", checkpoint, "-o", at / "policy")
    arl("data", "--texts", at / "texts.txt", "-o", at / "texts")
    arl("encode", "--shards", at / "texts", "--policy", at / "policy", "--voice", "ann", "-o", at / "emb")
    arl("sync", "--policy", at / "policy", "--engine", engine)
    arl("rollout", *emb, "--group", GROUP, "--max-new-tokens", LONGEST, "--engine", engine, "-o", at / "rollout")
    arl("decode", *emb, *rollout, "--policy", at / "policy", "--nfe", 1, "--cfg", 0, "-o", at / "wav")
    arl("reward", *rollout, *wav, "--with", "duration", *rewards, "-o", at / "reward")
    return *emb, *rollout, *reward, "--policy", at / "policy"


def train(at: Path, engine: Path, joined: tuple[object, ...]) -> None:
    """next, combined and back, in `at`."""
    arl("update", *joined, "--lr", "1e-2", "-o", at / "next")
    arl("sync", "--policy", at / "next", "--engine", engine)
    (at / "calm.py").write_text(HEAD)
    diffro = "--loss", "combined", "--head", f"{at / 'calm.py'}:Calm", "--no-filter"
    arl("update", *joined, "--shards", at / "texts", *diffro, "-o", at / "combined")
    arl("export", "--policy", at / "next", "-o", at / "back")


def check_hypotheses(at: Path, policy: Policy) -> None:
    """The engine's log-probabilities are the trainer's; responses are codes and an end, and each has its wave."""
    samples = list(read_joined([at / name / "000000.tar" for name in ("emb", "rollout", "wav", "reward")]))
    batch = rl_batch(samples, policy.version, allow_stale=False, correct=True, with_clips=True)
    with torch.no_grad():
        model = load_llm(policy.llm_dir, torch.device("cpu"))
        ours = shared_log_probs(model, batch.groups, policy.audio_token_id).log_probs
    engines = torch.cat([row for group in batch.groups for row in group.sampled])
    assert float((ours - engines).abs().max()) <= 1e-3

    hyps = [hyp for sample in samples for hyp in sample.json(columns.ROLLOUT)["hyps"]]
    assert all(token < CODES for hyp in hyps for token in hyp["tokens"][:-1]) and {hyp["text"] for hyp in hyps} == {""}
    assert any(hyp["finish"] == "stop" and hyp["tokens"][-1] >= CODES for hyp in hyps)
    for sample in samples:
        for number, hyp in enumerate(sample.json(columns.ROLLOUT)["hyps"]):
            wave = soundfile.info(io.BytesIO(sample.members[f"{number:02d}.flac"]))
            codes = sum(token < CODES for token in hyp["tokens"])
            assert (wave.samplerate, wave.frames) == (24000, 960 * max(1, codes))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"ARL_DEVICE": "cpu", "ARL_THREADS": "1", "ARL_QUIET": "1"}.items():
        monkeypatch.setenv(variable, value)


def test_from_the_folder_to_a_trained_one(tmp_path: Path, engine: Path, quiet: None) -> None:
    checkpoint = make_cosyvoice(tmp_path / "CosyVoice2")
    (tmp_path / "steady.py").write_text(shown_program("steady"))
    train(tmp_path, engine, to_rewards(tmp_path, engine, checkpoint, TEXTS, "--with", tmp_path / "steady.py"))
    policy, trained = Policy.open(tmp_path / "policy"), Policy.open(tmp_path / "next")
    assert trained.step == 1 and trained.version != policy.version
    assert Policy.open(tmp_path / "combined").version not in (policy.version, trained.version)
    check_hypotheses(tmp_path, policy)

    shutil.copyfile(tmp_path / "back" / "llm.pt", checkpoint / "llm.pt")
    arl("init", "--from", checkpoint, "-o", tmp_path / "again")
    again = load_llm(tmp_path / "again" / "llm", torch.device("cpu")).state_dict()
    exported = load_llm(trained.llm_dir, torch.device("cpu")).state_dict()
    assert again.keys() == exported.keys() and all(again[name].equal(exported[name]) for name in again)


def test_the_readmes_commands_lead_from_a_download_to_its_llm_pt(
    tmp_path: Path, engine: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shell_lines("README.md")
    first = next(place for place, line in enumerate(lines) if line.startswith("arl init --from CosyVoice2-0.5B"))
    commands = [shlex.split(line, comments=True)[1:] for line in lines[first : first + 6]]
    assert [command[0] for command in commands] == ["init", "encode", "rollout", "reward", "update", "export"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARL_ENGINE", str(engine))
    checkpoint = make_cosyvoice(tmp_path / "CosyVoice2-0.5B")
    write_tokenizer(checkpoint / "speech_tokenizer_v2.onnx")
    write_speaker_model(checkpoint / "campplus.onnx")
    soundfile.write("ann.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    Path("texts.txt").write_text("he\nthe hen\n")
    arl("data", "--texts", "texts.txt", "-o", "texts")
    for command in commands:
        arl(*command)
    ours, theirs = (torch.load(folder / "llm.pt", weights_only=True) for folder in (tmp_path / "trained", checkpoint))
    assert list(ours) == list(theirs) and any(not ours[name].equal(theirs[name]) for name in theirs)


def test_version_3_is_trained_too(tmp_path: Path, engine: Path, quiet: None) -> None:
    checkpoint, texts = make_cosyvoice(tmp_path / "CosyVoice3", 3), [f"<|endofprompt|>{text}" for text in TEXTS]
    joined = to_rewards(tmp_path, engine, checkpoint, texts)
    policy = Policy.open(tmp_path / "policy")
    check_hypotheses(tmp_path, policy)
    arl("update", *joined, "--lr", "0", "-o", tmp_path / "next")
    arl("export", "--policy", tmp_path / "next", "-o", tmp_path / "back")
    ours, theirs = (torch.load(folder / "llm.pt", weights_only=True) for folder in (tmp_path / "back", checkpoint))
    assert list(ours) == list(theirs) and all(ours[name].equal(theirs[name]) for name in theirs)
