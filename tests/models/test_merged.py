"""`arl export` of a policy with an adapter: what peft and transformers make of it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from arl.errors import ArlError, UsageError
from arl.models import InitOptions
from arl.models.convert import export_policy, init_policy
from arl.models.merged import merged_policy
from arl.policy import MARKER, Policy
from tests.tiny_asr import make_tiny_asr_policy
from tests.train.columns import make_rl_shards
from tests.train.test_learner import made

IDS = torch.tensor([[1, 7, 8, 9, 20]])


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("adapted")
    start = Policy.open(make_tiny_asr_policy(folder / "start"))
    return made(make_rl_shards(folder, start, shards=1), start, folder / "policy", lora_rank=3)


@pytest.fixture(scope="module")
def wanted(adapted: Policy) -> torch.Tensor:
    """The logits of the policy as it is trained."""
    from arl.train.lora import start_llm

    return logits(start_llm(adapted, torch.device("cpu")))


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=IDS).logits


def exported(policy: Policy, out: Path, **flags: Any) -> Path:
    export_policy(policy.path, out, **{"slim": False, "dtype": "float32", **flags})
    return out


def test_the_adapter_alone_is_what_peft_loads_with_its_base(adapted, wanted, tmp_path):
    from peft import AutoPeftModelForCausalLM

    out = exported(adapted, tmp_path / "adapter")
    assert sorted(path.name for path in out.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    model = AutoPeftModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    assert torch.allclose(logits(model), wanted, atol=1e-6)
    model.disable_adapter_layers()
    assert not torch.allclose(logits(model), wanted, atol=1e-3)


def test_merged_it_is_a_checkpoint_of_its_own(adapted, wanted, tmp_path):
    from transformers import AutoModelForCausalLM

    before = (adapted.llm_dir / "model.safetensors").read_bytes()
    for name, flags in (("family", {}), ("llm", {"llm_only": True})):
        out = exported(adapted, tmp_path / name, merge=True, **flags)
        model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
        assert torch.allclose(logits(model), wanted, atol=1e-5)
    assert (adapted.llm_dir / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["family", "llm"]


def test_a_merged_slim_policy_has_no_adapter(adapted, wanted, tmp_path):
    from arl.train.load import load_llm

    slim = Policy.open(exported(adapted, tmp_path / "slim", merge=True, slim=True))
    slim.verify()
    assert slim.adapter_dir is None and (slim.path / MARKER).is_file()
    assert torch.allclose(logits(load_llm(slim.llm_dir, torch.device("cpu"))), wanted, atol=1e-5)


def test_what_means_nothing_is_refused(adapted, tmp_path):
    plain = Policy.open(make_tiny_asr_policy(tmp_path / "plain"))
    with pytest.raises(UsageError, match="--merge: .*plain has no adapter"):
        exported(plain, tmp_path / "out", merge=True)
    for flags in ({"slim": True}, {"llm_only": True}):
        with pytest.raises(UsageError, match="is an adapter on llm/: --slim and --llm-only need --merge"):
            exported(adapted, tmp_path / "out", **flags)
    with pytest.raises(ArlError, match="is no slim one: `arl export --merge --slim` makes one"):
        init_policy(str(adapted.path), tmp_path / "out", InitOptions())
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_other_weights_is_one_line(adapted, tmp_path, monkeypatch):
    from arl.adapter import Adapter

    file = adapted.adapter_dir / "adapter_model.safetensors"
    odd = Adapter(file, 1.0, {"model.layers.9.mlp.up_proj.weight": ("a", "b")})
    monkeypatch.setattr("arl.models.merged.load_adapter", lambda folder: odd)
    line = "changes model.layers.9.mlp.up_proj.weight"
    with pytest.raises(ArlError, match=line), merged_policy(adapted, tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []
