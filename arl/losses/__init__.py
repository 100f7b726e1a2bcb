"""The losses of `arl update`, by name: one file each, a page beside each (README.md). Imports no torch by itself.

loss = make_loss({"loss": "gspo", "clip_low": 3e-4, "clip_high": 4e-4, "beta": 0.0, ...})
"""

# ε below and above 1, as each loss' paper has them
CLIPS = {"grpo": (0.2, 0.2), "dr_grpo": (0.2, 0.2), "dapo": (0.2, 0.28), "gspo": (3e-4, 4e-4)}
ON_ROLLOUTS = (*CLIPS, "mwer")
ON_SPEECH = ("diffro", "combined")  # rollouts of a synthesis policy
NAMES = (*ON_ROLLOUTS, *ON_SPEECH, "sft")
RISKS = ("errors", "reward")  # what `mwer` minimises
GUMBELS = ("sampled", "fresh")  # the noise of `diffro`
BASES = ("grpo", "dapo")  # what `combined` adds it to
