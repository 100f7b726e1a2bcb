"""`arl update --loss diffro` and `combined` as a user makes them: from shards without audio to the next policy."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from arl.errors import ArlError, UsageError
from arl.models.token_asr import model as token_asr
from arl.models.token_asr.model import TokenAsr
from arl.policy import Policy
from arl.rewards.advantages import advantages
from arl.shards import columns
from arl.shards.record import read_record
from arl.shards.writer import write_shard
from arl.train import learner as learner_module
from tests.tiny import make_tiny_policy
from tests.tiny_tts import CODES, make_tiny_tts_policy
from tests.train.test_learner import bits, killed, left_beside, made

TEXTS = ["one", "two three", "no", "yes we do"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.open(make_tiny_tts_policy(tmp_path_factory.mktemp("start") / "policy"))


def write_asr(folder: Path, codes: int = CODES, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    token_asr.save(TokenAsr(codes, width=16, heads=2, layers=1), folder)
    return folder


@pytest.fixture(scope="module")
def asr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_asr(tmp_path_factory.mktemp("asr") / "asr")


def make_shards(folder: Path, policy: Policy, shards: int = 2) -> list[str]:
    """text/, emb/ (prompts alone), rollout/ and reward/."""
    rng, (first, n) = random.Random(4), policy.acoustic
    for shard in range(shards):
        rows: dict[str, list[tuple[str, dict[str, bytes]]]] = {"text": [], "emb": [], "rollout": [], "reward": []}
        for i, text in enumerate(TEXTS):
            hyps = []
            for _ in range(3):
                tokens = [first + rng.randrange(n) for _ in range(rng.randint(6, 12))] + [policy.eos_token_id]
                hyps.append({"text": "", "tokens": tokens, "logprobs": [-3.0] * len(tokens), "finish": "stop"})
            values: list[float | None] = [rng.random() for _ in hyps]
            contents: dict[str, tuple[str, Any]] = {
                "text": (columns.META, {"text": text, "lang": "en"}),
                "emb": (columns.PROMPT, {"input_ids": [1, 20, 21, 3], "max_new_tokens": 40, "voice": "ann"}),
                "rollout": (columns.ROLLOUT, {"policy": policy.version, "temperature": 0.9, "hyps": hyps}),
                "reward": (
                    columns.REWARD,
                    {"components": {"asr": values}, "rewards": values, "advantages": advantages(values)},
                ),
            }
            for name, (member, content) in contents.items():
                rows[name].append((f"utt-{shard}-{i}", {member: columns.dumps(content)}))
        for name, samples in rows.items():
            write_shard(folder / name / f"{shard:06d}.tar", samples)
    return [str(folder / name) for name in ("text", "emb", "rollout", "reward")]


@pytest.fixture(scope="module")
def shards(start: Policy, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_shards(tmp_path_factory.mktemp("shards"), start)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield


@pytest.mark.parametrize("loss", ["diffro", "combined"])
def test_a_policy_is_trained_and_what_is_logged_is_recorded(start, shards, asr, tmp_path, loss):
    policy = made(shards, start, tmp_path / "next", loss=loss, token_asr=asr)
    policy.verify()
    assert policy.step == 2 and policy.is_tts and policy.fields["acoustic_codes"] == CODES
    record = read_record(policy.path)[0]
    assert {"diffro_reward", "diffro_share", "kl_codes", "stop", "reward_asr", "entropy", "self_check"} <= set(record)
    assert record["diffro_reward"] < 0 < record["kl_codes"] and 0 < record["stop"] < 1  # after a first step
    assert (record["diffro_share"] == 1) == (loss == "diffro") and ("clip_fraction" in record) == (loss == "combined")
    assert record["arguments"]["heads"] == [["token_asr", 1.0, token_asr.digest(asr)]]
    one = [f"{source}/000000.tar" for source in shards]
    first = made(one, start, tmp_path / "first", loss=loss, token_asr=asr)
    assert read_record(first.path)[0]["kl_codes"] == pytest.approx(0, abs=1e-7)  # at the reference


def test_the_flags_change_the_result(start, shards, asr, tmp_path):
    one = [f"{source}/000000.tar" for source in shards]
    flags: list[dict[str, Any]] = [
        {"loss": "diffro"}, {"loss": "diffro", "gumbel": "fresh"}, {"loss": "diffro", "tau": 0.5},
        {"loss": "combined"}, {"loss": "combined", "base": "dapo"}, {"loss": "combined", "diffro_weight": 0.5},
        {"loss": "combined", "no_filter": True}, {"loss": "diffro", "seed": 1}, {"loss": "grpo"},
    ]  # fmt: skip
    found = [
        made(one, start, tmp_path / str(i), **fields, **({} if fields["loss"] == "grpo" else {"token_asr": asr}))
        for i, fields in enumerate(flags)
    ]
    assert len({policy.version for policy in found}) == len(flags)


def test_the_micro_batch_changes_no_more_than_rounding(start, shards, asr, tmp_path):
    one = [f"{source}/000000.tar" for source in shards]
    found = [
        read_record(made(one, start, tmp_path / str(n), loss="combined", token_asr=asr, tokens=n).path)[0]
        for n in (1, 10_000)
    ]
    for name in ("loss", "grad_norm", "diffro_reward", "stop", "diffro_share"):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("loss", ["diffro", "combined"])
def test_a_killed_run_resumes_to_the_same_bits(start, shards, asr, tmp_path, loss):
    flags = {"loss": loss, "token_asr": asr, "epochs": 2, "save_every": 2, "gumbel": "fresh"}
    calm = made(shards, start, tmp_path / "calm", **flags)
    out = tmp_path / "rough"
    killed(lambda: made(shards, start, out, **flags), learner_module.Learner, "_apply", 4)
    assert left_beside(out) == [".rough.checkpoint"]
    assert bits(made(shards, start, out, **flags)) == bits(calm) and left_beside(out) == []


def test_another_recogniser_is_another_input(start, shards, asr, tmp_path, capsys):
    one = [f"{source}/000000.tar" for source in shards]
    first = made(one, start, tmp_path / "out", loss="diffro", token_asr=asr)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in asr.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    made(one, start, tmp_path / "out", loss="diffro", token_asr=copy)
    assert "already made from these inputs" in capsys.readouterr().err
    other = made(one, start, tmp_path / "out", loss="diffro", token_asr=write_asr(tmp_path / "other", seed=1))
    assert other.version != first.version


HEAD = """
class Calm:
    \"\"\"Likes code 0, and is heard in nothing shorter than eight codes.\"\"\"

    def rewards(self, onehots, lengths, texts):
        assert texts[0] in {texts!r}
        return onehots[..., 0].sum(1) / lengths

    def fits(self, n_codes, text):
        return n_codes >= 8
"""


def test_a_head_of_ones_own_alone_or_beside_the_recogniser(start, shards, asr, tmp_path):
    path = tmp_path / "calm.py"
    path.write_text(HEAD.replace("{texts!r}", repr(TEXTS)))
    one = [f"{source}/000000.tar" for source in shards]
    alone = made(one, start, tmp_path / "alone", loss="diffro", head=[f"{path}:Calm"])
    record = read_record(alone.path)[0]
    assert 0 <= record["diffro_reward"] <= 1 and 0 < record["diffro_share"] < 1
    both = made(one, start, tmp_path / "both", loss="combined", token_asr=asr, head=[f"{path}:Calm=0.5"])
    record = read_record(both.path)[0]
    parts = record["diffro_token_asr"] + 0.5 * record["diffro_Calm"]
    assert record["diffro_reward"] == pytest.approx(parts, rel=1e-5)
    assert record["arguments"]["heads"][1][:2] == ["Calm", 0.5]


def test_what_is_wrong_is_one_line(start, shards, asr, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="--loss diffro needs --token-asr DIR .* or --head FILE.py:CLASS"):
        made(shards, start, out, loss="diffro")
    with pytest.raises(UsageError, match="--token-asr and --head belong to --loss combined and diffro"):
        made(shards, start, out, loss="grpo", token_asr=asr)
    with pytest.raises(UsageError, match="trains speech synthesis: .* has no acoustic tokens"):
        made(shards, Policy.open(make_tiny_policy(tmp_path / "asr-policy")), out, loss="diffro", token_asr=asr)
    with pytest.raises(ArlError, match="no config.json and model.safetensors"):
        made(shards, start, out, loss="diffro", token_asr=tmp_path)
    with pytest.raises(ArlError, match=r"a recogniser of 9 codes, but .* speaks 27: train one on this"):
        made(shards, start, out, loss="combined", token_asr=write_asr(tmp_path / "nine", codes=9))
    with pytest.raises(UsageError, match="--tau 0: above 0"):
        made(shards, start, out, loss="diffro", token_asr=asr, tau=0.0)
    with pytest.raises(ArlError, match=r"utt-0-0: no text to speak: join the shards whose .json has it") as caught:
        made(shards[1:], start, out, loss="diffro", token_asr=asr)
    assert "\n" not in str(caught.value) and not out.exists()


def test_other_losses_need_no_text_and_have_the_settings_they_had(start, shards, tmp_path):
    record = read_record(made(shards[1:], start, tmp_path / "out", loss="grpo").path)[0]
    assert record["clip_fraction"] >= 0 and not {"heads", "tau", "gumbel", "base"} & set(record["arguments"])
