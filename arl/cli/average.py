"""`arl average`: policies of one run → a policy with the mean of their weights.

    arl average runs/mine/step-{000038,000039,000040}/policy -o mean
    arl eval --shards emb-test --policy mean

`make loop POLICIES=3` keeps the last three. Left out: adapters (`--lora-rank`), and weights of the mean: a policy that
is named twice counts twice.
"""

from pathlib import Path
from typing import Annotated

import typer


def average(
    policies: Annotated[
        list[Path], typer.Argument(help="Policy folders, the last one of which gives all but weights.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Policy folder to write.")],
) -> None:
    """Average the weights of several policies of a run.

    Example: arl average runs/mine/step-000039/policy runs/mine/step-000040/policy -o mean
    """
    from arl.models.average import average_policies

    average_policies(policies, out)
