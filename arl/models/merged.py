"""`arl export` of a policy with an adapter: the adapter as peft has it, or the base with the adapter in its weights.

    export_adapter(policy, Path("adapter"))
    with merged_policy(policy, beside=out) as whole:      # without an adapter; gone again behind the block
        family_of(whole).export(whole, out)

The merged weights are made tensor by tensor from the base's files, always of base and adapter.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from arl.adapter import CONFIG, WEIGHTS, Adapter, load_adapter
from arl.errors import ArlError
from arl.models.speech_lm.memory import load, raw_bytes
from arl.models.speech_lm.source import refuse_full_disk
from arl.models.speech_lm.tensors import Stored, read_header, read_tensors, write_with_header
from arl.policy import Policy, link_tree
from arl.shards.durable import write_folder


def export_adapter(policy: Policy, out: Path) -> None:
    """Writes the adapter, whole or not at all; its configuration names the policy's `llm/` as its base."""
    source = policy.adapter_dir
    assert source is not None
    fields = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    fields["base_model_name_or_path"] = str(policy.llm_dir.resolve())

    def fill(folder: Path) -> None:
        shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n")

    write_folder(out, fill)


@contextmanager
def merged_policy(policy: Policy, beside: Path) -> Iterator[Policy]:
    """The policy without an adapter, its weights merged, in a temporary folder beside the one to write.

    ArlError where the adapter is of other weights, or the disk has no room.
    """
    adapter = load_adapter(policy.adapter_dir) if policy.adapter_dir is not None else None
    if adapter is None:
        raise ArlError(f"{policy.path}: no adapter in {policy.adapter_dir}")
    refuse_full_disk(beside, sum(file.stat().st_size for file in policy.llm_dir.iterdir()))
    folder = beside.resolve().parent / f".{beside.name}.merged-{os.getpid()}"
    try:
        link_tree(policy.llm_dir, folder / "llm")
        merge_files(adapter, folder / "llm")
        if policy.frontend_dir.is_dir():
            link_tree(policy.frontend_dir, folder / "frontend")
        yield Policy(folder, {name: value for name, value in policy.fields.items() if name != "base"})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def merge_files(adapter: Adapter, llm_dir: Path) -> None:
    """Replaces the weights of a folder of links by merged ones; files without any stay links."""
    left = set(adapter.factors)
    for file in sorted(llm_dir.glob("*.safetensors")):
        tensors = read_tensors(file)
        inside = left & {tensor.name for tensor in tensors}
        if inside:
            merged = file.with_suffix(".merged")
            write_with_header(merged, read_header(file), (contents(adapter, tensor) for tensor in tensors))
            os.replace(merged, file)
        left -= inside
    if left:
        raise ArlError(f"{adapter.file}: changes {sorted(left)[0]}, which is none of the base's weights")


def contents(adapter: Adapter, tensor: Stored) -> Iterable[bytes]:
    """The bytes of a weight, with the adapter where it changes it."""
    if tensor.name not in adapter.factors:
        return tensor.blocks()
    return [raw_bytes(adapter.merged(tensor.name, load(tensor)))]
