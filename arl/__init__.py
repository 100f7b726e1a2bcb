"""arl: reinforcement learning of LLM-based speech recognition and synthesis, as composable stages.

The package is read in the data's order: `data` → `encode` → `rollout` → `reward` → `update` → `sync`.
Importing it is cheap: nothing is imported with it.

"""

TYPE_CHECKING = False  # true for type checkers; importing typing would double the time of a warm command line

if TYPE_CHECKING:
    from arl.rewards.programs.decorator import reward

__version__ = "0.2.0"

__all__ = ["__version__", "reward"]


def __getattr__(name: str) -> object:
    if name == "reward":
        from arl.rewards.programs.decorator import reward

        return reward
    raise AttributeError(f"module 'arl' has no attribute {name!r}")
