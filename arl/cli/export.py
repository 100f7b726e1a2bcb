"""`arl export`: a policy folder → its checkpoint, or a slim folder to ship.

    arl export --policy runs/demo/policy --slim --dtype float16 -o start

The checkpoint is the LLM in the Hugging Face format, where the policy's model family has no layout of its own. A policy
that `arl update --lora-rank` has made is written as an adapter in peft's format, and with --merge as a checkpoint.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from arl.cli import options
from arl.errors import UsageError


def export(
    policy: options.PolicyDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    slim: Annotated[bool, typer.Option("--slim", help="The trained parts only; `arl init` restores a policy.")] = False,
    llm_only: Annotated[bool, typer.Option("--llm-only", help="The LLM alone, as a plain causal LM.")] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Of a policy with an adapter: the whole checkpoint, not the adapter alone.")
    ] = False,
    dtype: Annotated[
        Literal["float16", "bfloat16", "float32"], typer.Option("--dtype", help="Of the weights, with --slim.")
    ] = "float16",
) -> None:
    """Write a policy as a plain checkpoint, or in its slim form to ship.

    Example: arl export --policy policy --slim -o start
    """
    from arl.models.convert import export_policy

    if policy is None:
        raise UsageError("arl export needs --policy (or ARL_POLICY)")
    export_policy(policy, out, slim, dtype, llm_only, merge)
