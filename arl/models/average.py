"""`arl average`: the mean of several policies' weights, as a policy.

    average_policies([Path("step-000038/policy"), Path("step-000039/policy"), Path("step-000040/policy")], Path("mean"))

The mean of the last policies of a run (Polyak & Juditsky 1992; Izmailov et al. 2018, "stochastic weight averaging")
lies nearer to the optimum that they move around than each of them does. Every weight is the mean in float64, in the
order given, rounded once to its own dtype; one tensor of each policy is in memory. What is not the LLM's weights is the
last one's, and must be the same in all. Left out: adapters, of which the mean of the factors is not the mean of their
products; optimizer states, so that an update of the mean begins with --fresh-optimizer.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from arl.errors import ArlError, UsageError
from arl.models.speech_lm.memory import load, raw_bytes
from arl.models.speech_lm.source import refuse_full_disk
from arl.models.speech_lm.tensors import Stored, read_header, read_tensors, write_with_header
from arl.policy import WEIGHTS, Policy, link_tree, refuse_other, write_policy
from arl.runtime.console import note
from arl.runtime.stage import Phases, peak_memory_mb
from arl.shards.durable import refuse_inputs, refuse_unwritable
from arl.shards.record import StageRecord, append_record
from arl.train.learner import OF_ONE_UPDATE
from arl.train.load import load_llm
from arl.train.probe import make_probe

SAME = "family", "frontend", "prompt", "audio_token_id", "eos_token_id", "transcript", "request"  # fields of arl.json

Weights = Mapping[str, Stored]  # a policy's, by name


def average_policies(sources: Sequence[Path], out: Path) -> Policy:
    """Writes the mean of at least two policies whole or not at all; "averaged" of its arl.json has their versions, and
    its step is the last one's.

    UsageError for one policy, and for one with an adapter; ArlError where they do not fit or one is damaged.
    """
    if len(sources) < 2:
        raise UsageError("arl average: give two policies or more")
    refuse_inputs(out, sources)
    refuse_other(out)
    refuse_unwritable(out)
    phases = Phases()
    with phases.phase("load"):
        policies = [Policy.open(source) for source in sources]
        refuse_different(policies)
        for policy in policies:
            policy.verify()
    last, versions = policies[-1], [policy.version for policy in policies]
    refuse_full_disk(out, sum(file.stat().st_size for file in last.llm_dir.iterdir()))
    fields: dict[str, Any] = {name: value for name, value in last.fields.items() if name not in OF_ONE_UPDATE}
    fields["averaged"] = versions

    def fill(folder: Path) -> None:
        with phases.phase("run"):
            link_tree(last.llm_dir, folder / "llm")
            average_files(policies, folder / "llm")
            fields["probe"] = make_probe(load_llm(folder / "llm", torch.device("cpu")), last.audio_token_id)
        if last.frontend_dir.is_dir():
            link_tree(last.frontend_dir, folder / "frontend")
        paths = [os.path.relpath(policy.path.resolve(), out.resolve()) for policy in policies]
        record = StageRecord("average", "average", len(policies), phases.rounded(), peak_memory_mb(), last.version,
                             arguments={"averaged": versions}, sources=paths)  # fmt: skip
        append_record(folder, record)

    made = write_policy(out, fields, fill)
    note(f"average: {out}: policy {made.version}, the mean of {', '.join(versions)}")
    return made


def refuse_different(policies: Sequence[Policy]) -> None:
    """UsageError for an adapter; ArlError for what is not the policies' weights and is not the same in all."""
    last = policies[-1]
    for policy in policies:
        if policy.adapter_dir is not None:
            raise UsageError(f"{policy.path}: has an adapter, and the mean of its factors is not that of the weights: "
                             "`arl export --merge` and `arl init` make a policy of whole weights")  # fmt: skip
        for name in SAME:
            if policy.fields.get(name) != last.fields.get(name):
                raise ArlError(f"{policy.path}: has another {name} than {last.path}: average policies of one start")


def average_files(policies: Sequence[Policy], llm_dir: Path) -> None:
    """Replaces the weights of a folder of links to those of the last policy by the means of all."""
    every = [weights_of(policy) for policy in policies]
    for policy, weights in zip(policies, every, strict=True):
        if odd := sorted(weights.keys() ^ every[-1].keys()):
            raise ArlError(f"{policy.path}: tensor {odd[0]} is not in all policies: average policies of one start")
    for file in sorted(llm_dir.glob(WEIGHTS)):
        mean = file.with_suffix(".mean")
        stacks = ([weights[tensor.name] for weights in every] for tensor in read_tensors(file))
        write_with_header(mean, read_header(file), map(mean_bytes, stacks))
        os.replace(mean, file)


def weights_of(policy: Policy) -> Weights:
    """The tensors of all files of a policy's LLM."""
    return {tensor.name: tensor for file in sorted(policy.llm_dir.glob(WEIGHTS)) for tensor in read_tensors(file)}


def mean_bytes(stack: Sequence[Stored]) -> Iterator[bytes]:
    """The bytes of the mean of a tensor, in its own dtype; of whole numbers, which have no mean, those of all. ArlError
    where one has another form."""
    last = stack[-1]
    for tensor in stack:
        if (tensor.dtype, tensor.shape) != (last.dtype, last.shape):
            raise ArlError(f"{tensor.file}: tensor {tensor.name} is {tensor.dtype} {list(tensor.shape)}, and "
                           f"{last.dtype} {list(last.shape)} in {last.file}")  # fmt: skip
    tensors = map(load, stack)
    first = next(tensors)
    if not first.is_floating_point():
        if not all(torch.equal(first, other) for other in tensors):
            raise ArlError(f"{last.file}: tensor {last.name} has whole numbers, which are not the same in all policies")
        yield raw_bytes(first)
        return
    total = first.double()
    for other in tensors:
        total += other.double()
    yield raw_bytes((total / len(stack)).to(first.dtype))
