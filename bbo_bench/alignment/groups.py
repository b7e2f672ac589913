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


class History:
    """The newest values of every group, whose mean and deviation the next ones are compared with.

    As DDPO's authors keep rewards of prompts, of which a rollout may have few each (Black et al. 2024, section 5.2).

    Args:
        length: Values that are kept of a group.
        least: Where a group has fewer, mean and deviation are those of the values that are compared, of all groups.
    """

    def __init__(self, length: int, least: int = 16) -> None:
        self.length, self.least = length, least
        self._values: Tensor | None = None

    def compared(self, values: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
        """Keep `n` values of groups, and give the means and standard deviations of each one's history, `n` and `n`."""
        if self._values is None:
            self._values, self._group = values.new_empty(0), group.new_empty(0)
        kept, owner = torch.cat([self._values, values]), torch.cat([self._group, group])
        member = nn.functional.one_hot(owner).to(values)
        age = member.flip(0).cumsum(0).flip(0).gather(1, owner[:, None])[:, 0]
        newest = age <= self.length
        self._values, self._group, member = kept[newest], owner[newest], member[newest]
        size = member.sum(0)
        mean = self._values @ member / size.clamp(min=1)
        variance = (self._values - mean[self._group]).square() @ member / size.clamp(min=1)
        known = (size >= self.least)[group]
        return mean[group].where(known, values.mean()), variance.sqrt()[group].where(known, values.std(unbiased=False))
