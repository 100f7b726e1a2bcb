"""`arl average`: means of weights, tensor by tensor, and what is no mean."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from arl.cli.average import average
from arl.errors import ArlError, UsageError
from arl.models.average import mean_bytes
from arl.models.speech_lm.tensors import Stored, read_tensors
from arl.policy import MARKER, Policy
from arl.shards.record import read_record
from tests.tiny import make_tiny_policy


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("policies")
    return [make_tiny_policy(folder / str(seed), seed=seed, step=seed + 4, layers=1) for seed in range(3)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "llm" / "model.safetensors")


def test_every_weight_is_the_mean_and_the_rest_is_the_last_ones(policies, tmp_path):
    before = [path.read_bytes() for policy in policies for path in sorted((policy / "llm").iterdir())]
    average(policies, tmp_path / "mean")
    made, every = Policy.open(tmp_path / "mean"), [weights(policy) for policy in policies]
    made.verify()
    for name, tensor in weights(made.path).items():
        mean = torch.stack([one[name].double() for one in every]).sum(0) / 3
        assert torch.equal(tensor, mean.float()) and not torch.equal(tensor, every[-1][name])
    assert made.step == 6 and made.fields["averaged"] == [Policy.open(policy).version for policy in policies]
    assert made.fields["probe"]["logprobs"] and not made.state_dir.exists()
    (record,) = read_record(made.path)
    assert [(made.path / source).resolve() for source in record["sources"]] == policies
    assert before == [path.read_bytes() for policy in policies for path in sorted((policy / "llm").iterdir())]
    average([policies[0], policies[0]], tmp_path / "same")
    assert Policy.open(tmp_path / "same").version == Policy.open(policies[0]).version


def test_what_does_not_fit_is_refused_and_nothing_is_written(policies, tmp_path):
    with pytest.raises(UsageError, match="give two policies or more"):
        average(policies[:1], tmp_path / "out")
    other = make_tiny_policy(tmp_path / "wide", hidden=32, layers=1)
    with pytest.raises(ArlError, match=r"tensor .* is F32 .* and F32 .* in "):
        average([other, policies[0]], tmp_path / "out")
    deeper = make_tiny_policy(tmp_path / "deep", layers=2)
    with pytest.raises(ArlError, match=r"tensor model\.layers\.1\..* is not in all policies"):
        average([policies[0], deeper], tmp_path / "out")
    for field, value, error in (("frontend", "f", ArlError), ("base", "000000-aaaaaaaaaaaa", UsageError)):
        marker = other / MARKER
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {field: value}))
        with pytest.raises(error, match="has another frontend|has an adapter"):
            average([other, policies[0]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def stored(folder: Path, *tensors: torch.Tensor) -> list[Stored]:
    for number, tensor in enumerate(tensors):
        save_file({"x": tensor}, folder / f"{number}.safetensors")
    return [read_tensors(folder / f"{number}.safetensors")[0] for number in range(len(tensors))]


def test_a_mean_is_rounded_once_and_whole_numbers_have_none(tmp_path):
    pair = [torch.tensor([1.0, 2.0**-8]).bfloat16(), torch.tensor([1.0078125, 0.0]).bfloat16()]
    (raw,) = mean_bytes(stored(tmp_path, *pair))
    found = torch.frombuffer(bytearray(raw), dtype=torch.bfloat16)
    assert torch.equal(found, ((pair[0].double() + pair[1].double()) / 2).bfloat16())
    numbers = torch.arange(3)
    assert list(mean_bytes(stored(tmp_path, numbers, numbers))) == [numbers.numpy().tobytes()]
    with pytest.raises(ArlError, match="whole numbers, which are not the same"):
        list(mean_bytes(stored(tmp_path, numbers, numbers + 1)))
