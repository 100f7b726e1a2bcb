"""Trimming, checkpointing and compiling change how a decoder runs, never what it computes."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from arl.errors import ArlError
from arl.losses.grpo import Grpo
from arl.train import decoder
from arl.train.decoder import layers_of, set_checkpointing, set_compiled
from arl.train.groups import PromptGroup
from arl.train.packing import Packing
from arl.train.step import Compute, policy_backward
from tests.train.exact import AUDIO, float64_layers, gradients, largest_difference, make_decoder, make_group


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    with float64_layers():
        yield


def groups() -> list[PromptGroup]:
    return [make_group(seed, n_hyps=n) for seed, n in enumerate((4, 1, 3))]


def step(model: Any, **settings: Any) -> dict[str, torch.Tensor]:
    policy_backward(model, groups(), Grpo(beta=0.0), None, Compute(AUDIO, token_budget=30, **settings))
    return gradients(model)


def rows_through(module: torch.nn.Module, work: Any) -> list[int]:
    """How many positions each call of a module gets while `work` runs."""
    seen: list[int] = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    work()
    handle.remove()
    return seen


def test_the_last_mlp_runs_only_where_it_is_read():
    model = make_decoder()
    model.requires_grad_(False)
    one = groups()[:1]
    n_read = 1 + sum(len(response) - 1 for response in one[0].responses)
    lengths = [(one[0].prompt_length, [len(response) - 1 for response in one[0].responses])]
    assert Packing(lengths).read.tolist() == list(range(one[0].prompt_length - 1, one[0].row_length))
    first, last = layers_of(model)
    assert rows_through(first.mlp.gate_proj, lambda: Compute(AUDIO).scores(model, one)) == [one[0].row_length]
    assert rows_through(last.mlp.gate_proj, lambda: Compute(AUDIO).scores(model, one)) == [n_read]
    ids = torch.tensor([[7, 8, 9]])
    assert rows_through(last.mlp.gate_proj, lambda: model(input_ids=ids)) == [3]


def test_checkpointing_gives_the_same_gradients_and_computes_layers_again():
    model = make_decoder()
    expected = step(model)
    first = layers_of(model)[0].mlp.gate_proj
    plain = len(rows_through(first, lambda: step(model)))
    again = len(rows_through(first, lambda: step(model, checkpointing=True)))
    assert again == 2 * plain
    assert largest_difference(step(model, checkpointing=True), expected) < 1e-13
    assert len(rows_through(first, lambda: step(model))) == plain  # a model may be kept for a job without it


def test_checkpointing_of_padded_rows_with_masks(monkeypatch):
    monkeypatch.setattr("arl.train.attention.packs", lambda model: False)
    model = make_decoder()
    assert largest_difference(step(model, checkpointing=True), step(model)) < 1e-13


def test_nothing_of_it_is_saved(tmp_path):
    model = make_decoder()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    step(model, checkpointing=True)
    set_compiled(model, True)
    assert before.keys() == model.state_dict().keys()
    model.save_pretrained(tmp_path)
    assert "shared_prompt" not in (tmp_path / "config.json").read_text()


def test_compiling_is_asked_for_once_a_layer_and_taken_back(monkeypatch):
    model = make_decoder()
    asked: list[Any] = []

    def compile(layer: Any, **settings: Any) -> None:
        asked.append(layer)
        layer._compiled_call_impl = layer._call_impl

    monkeypatch.setattr(torch.nn.Module, "compile", compile)
    set_compiled(model, True)
    set_compiled(model, True)
    assert asked == layers_of(model)
    set_compiled(model, False)
    assert all(layer._compiled_call_impl is None for layer in asked)


def test_compiling_without_a_compiler_is_one_line(monkeypatch):
    monkeypatch.setattr(decoder.shutil, "which", lambda name: None)
    with pytest.raises(ArlError, match=r"--compile: no C\+\+ compiler"):
        set_compiled(make_decoder(), True)


def test_layers_that_cannot_be_found_are_left_alone():
    class Odd:
        def get_decoder(self) -> torch.nn.Module:
            return torch.nn.Linear(1, 1)

    assert layers_of(Odd()) == []
    set_checkpointing(Odd(), True)
