"""The losses of `arl update`: one file each and a page beside it, `grpo.py` and `grpo.md`. Imports no torch by itself.

    NAMES                                                  # ("combined", "dapo", "diffro", …)
    loss = make_loss(LossSettings(loss="gspo", beta=0.0))  # registry.py

A file is a loss if it has a page of its name; it states what the update has to know of it as `LOSS` (spec.py).
"""

from pathlib import Path

NAMES = tuple(sorted(page.stem for page in Path(__file__).parent.glob("*.md") if page.with_suffix(".py").is_file()))
