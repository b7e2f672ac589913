"""Groups of trajectories with a common start, whose rewards are compared with each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def grouped(n: int, size: int, device: torch.device) -> Tensor:
    """Group numbers of `n` trajectories, an `n`-dim tensor: groups of `size`, or a little larger ones."""
    return torch.arange(n, device=device) % max(n // size, 1)


def deviations(values: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """What `n x m` values have above the mean of the others of their group, and their group's standard deviations.

    The mean of the others depends on nothing that a trajectory itself has drawn since the common start, so subtracting
    it leaves a policy gradient unbiased. In groups of one, all are 0.
    """
    member = nn.functional.one_hot(group).to(values)
    share = member / member.sum(0)
    size = member.sum(0)[group, None]
    per_other = size / (size - 1).clamp(min=1)
    above = values - member @ (share.T @ values)
    variance = member @ (share.T @ above.square()) * per_other
    return above * per_other, variance.sqrt()
