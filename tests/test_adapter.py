"""An adapter in peft's format: added to the weights that it names, refused on others."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from arl.adapter import CONFIG, WEIGHTS, Adapter, load_adapter
from arl.errors import ArlError


@pytest.fixture
def adapter(tmp_path: Path) -> Adapter:
    """Of rank 2 with alpha 6, on the one weight `layers.0.q.weight` [3, 4]."""
    torch.manual_seed(0)
    factors = {"lora_A": torch.randn(2, 4), "lora_B": torch.randn(3, 2)}
    save_file({f"base_model.model.layers.0.q.{name}.weight": x for name, x in factors.items()}, tmp_path / WEIGHTS)
    (tmp_path / CONFIG).write_text(json.dumps({"r": 2, "lora_alpha": 6, "target_modules": ["q"]}))
    found = load_adapter(tmp_path)
    assert found is not None
    return found


def test_it_is_added_in_float32_and_rounded_once(adapter: Adapter) -> None:
    base = torch.randn(3, 4).to(torch.bfloat16)
    other = torch.randn(5)
    merged = dict(adapter.all_merged([("layers.0.q.weight", base), ("norm.weight", other)]))
    assert merged["norm.weight"] is other
    assert torch.equal(merged["layers.0.q.weight"], (base.float() + adapter.delta("layers.0.q.weight")).bfloat16())
    assert not torch.equal(merged["layers.0.q.weight"], base)


def test_a_base_without_its_weight_is_refused(adapter: Adapter) -> None:
    with pytest.raises(ArlError, match="changes layers.0.q.weight, which is none of the base's weights"):
        list(adapter.all_merged([("norm.weight", torch.zeros(5))]))


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert load_adapter(tmp_path) is None
