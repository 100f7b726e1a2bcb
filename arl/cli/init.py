"""`arl init`: a checkpoint → a policy folder.

    arl init --from examples/asr/start -o policy                    # the shipped starting policy
    arl init --from openai/whisper-small --llm Qwen/Qwen2.5-0.5B -o policy
    arl init --from whisper-tiny.en --llm new:256x4 -o policy       # from scratch, then `arl update --loss sft`

Left out: training; a fresh projector knows nothing until `arl update --loss sft` has trained it.
"""

from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options


def init(
    source: Annotated[str, typer.Option("--from", help="A slim policy, whisper-tiny.en, a Whisper folder or name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Policy folder to write.")],
    llm: Annotated[str, typer.Option("--llm", help="new:WIDTHxLAYERS, a causal LM's folder or name.")] = "new:256x4",
    stack: Annotated[int, typer.Option("--stack", min=1, help="Encoder frames (20 ms) per embedding.")] = 2,
    seed: options.Seed = 0,
) -> None:
    """Make a policy folder from a checkpoint.

    Example: arl init --from examples/asr/start -o policy
    """
    from arl.models import family
    from arl.policy import MARKER, Policy
    from arl.runtime.console import note
    from arl.runtime.device import quiet_transformers

    quiet_transformers()
    slim = Path(source)
    if (slim / MARKER).is_file():
        policy = family(Policy.open(slim).family).build.assemble(slim, out)
    else:
        policy = family("whisper-qwen2").build.build(source, llm, stack, out, seed)
    note(f"init: {out}: policy {policy.version}, frontend {policy.frontend_id}")
