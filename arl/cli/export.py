"""`arl export`: a policy folder → its LLM in the Hugging Face format, or a slim folder to ship.

    arl export --policy runs/demo/policy --slim --dtype float16 -o start

Left out: writing other families' composite checkpoints; this family's own form is the policy folder itself.
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options


def export(
    policy: options.PolicyDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    slim: Annotated[bool, typer.Option("--slim", help="LLM and projector only; `arl init` restores it.")] = False,
    dtype: Annotated[str, typer.Option("--dtype", help="float16, bfloat16 or float32, with --slim.")] = "float16",
) -> None:
    """Write a policy's LLM as a plain checkpoint, or a slim policy to ship.

    Example: arl export --policy policy --slim -o start
    """
    from arl.errors import ArlError, UsageError
    from arl.policy import Policy
    from arl.runtime.console import note
    from arl.runtime.device import quiet_transformers

    if policy is None:
        raise UsageError("arl export needs --policy (or ARL_POLICY)")
    opened = Policy.open(policy)
    opened.verify()
    if slim:
        import torch

        from arl.models import family

        if dtype not in ("float16", "bfloat16", "float32"):
            raise UsageError(f"--dtype {dtype}: float16, bfloat16 or float32")
        quiet_transformers()
        family(opened.family).build.export_slim(opened, out, getattr(torch, dtype))
    else:
        if out.exists():
            raise ArlError(f"{out}: exists; give another folder")
        shutil.copytree(opened.llm_dir, out)
    note(f"export: {out}")
