"""arl: reinforcement learning of LLM-based speech recognition and synthesis, as composable stages.

The package is read in the data's order: `data` → `encode` → `rollout` → `reward` → `update` → `sync`.
Importing it is cheap: nothing here imports torch.

    from arl import reward          # the decorator of a reward program, see stages/README.md
"""

__version__ = "0.1.0"

from arl.programs.decorator import reward

__all__ = ["__version__", "reward"]
