"""Groups, of trajectories with a common start or of designs for one prompt, whose rewards are compared."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn


def grouped(n: int, size: int, device: torch.device, prompts: int = 1) -> Tensor:
    """Group numbers of `n` trajectories, an `n`-dim tensor: groups of `size`, or a little larger ones.

    There are as many groups for each of some prompts, which come by turns, so that trajectories are balanced too.
    """
    return torch.arange(n, device=device) % (max(n // size // prompts, 1) * prompts)


def deviations(values: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """What `n x m` values have above the mean of the others of their group, and their group's standard deviations.

    The mean of the others depends on nothing that a trajectory itself has drawn since the common start, so subtracting
    it leaves a policy gradient unbiased. In groups of one, all are 0. Some numbers may have no group.
    """
    member = nn.functional.one_hot(group).to(values)
    share = member / member.sum(0).clamp(min=1)
    size = member.sum(0)[group, None]
    per_other = size / (size - 1).clamp(min=1)
    above = values - member @ (share.T @ values)
    variance = member @ (share.T @ above.square()) * per_other
    return above * per_other, variance.sqrt()


def mates(group: Tensor, first: Tensor, rng: Generator) -> Tensor:
    """Numbers of `m` random members of the groups that those numbered `first` belong to, themselves among them.

    Args:
        group: The `n` numbers of all members' groups.
        first: `m` numbers of members.
        rng: Generator on their device.
    """
    order, size = group.argsort(stable=True), torch.bincount(group)
    own = group[first]
    place = torch.rand(len(first), generator=rng, device=group.device) * size[own]
    return order[(size.cumsum(0) - size)[own] + place.long()]
