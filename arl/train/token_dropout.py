"""Token dropout: some tokens that the LLM reads in teacher forcing are others, so that it listens and does not recite.

With few texts an LLM learns them by heart, and then goes on from the words before without the audio. The targets stay.
Word dropout (Bowman et al. 2016, arXiv 1511.06349, section 3.1) with replaced tokens in place of a token for unknown.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from arl.train.groups import PromptGroup


def with_dropout(groups: Sequence[PromptGroup], share: float, generator: torch.Generator) -> list[PromptGroup]:
    """The groups with `shown`: each input token, with probability `share`, is one drawn from all inputs of the groups.

    What a group gets depends on all groups of the batch, not on how they are cut into micro-batches.
    """
    drawn_from = torch.cat([tokens for group in groups for tokens in group.inputs])
    if not len(drawn_from):
        return list(groups)
    changed = []
    for group in groups:
        shown = []
        for tokens in group.inputs:
            others = drawn_from[torch.randint(len(drawn_from), tokens.shape, generator=generator)]
            shown.append(torch.where(torch.rand(tokens.shape, generator=generator) < share, others, tokens))
        changed.append(replace(group, shown=shown))
    return changed
