"""Standardized scores: what every model of the score, and every reward, is made of."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn


class Scale(NamedTuple):
    """The affine map between scores and their standardized values, one for all, or one for each group of scores.

    Scores come in double precision, and are standardized in it: an offset of 1e9 costs differences of 1 nothing.
    """

    mean: Tensor
    """In the score's units: a scalar, or one for each group."""
    std: Tensor
    """Positive, in the score's units; 1 for scores that do not differ, or differ by rounding alone."""

    @classmethod
    def of(cls, y: Tensor) -> Self:
        """The scale of `n` finite scores, at least one."""
        mean = y.mean()
        std = deviation(y)
        rounding = 4 * torch.finfo(y.dtype).eps * mean.abs()
        return cls(mean, torch.where(std > rounding, std, torch.ones_like(std)))

    @classmethod
    def within(cls, y: Tensor, group: Tensor, groups: int) -> Self:
        """The scales of `groups` groups of scores; those of all where a group has fewer than two.

        Args:
            y: `n` finite scores, at least one.
            group: The `n` numbers of their groups.
            groups: How many groups there are.
        """
        every, member = cls.of(y), nn.functional.one_hot(group, groups).to(y)
        size = member.sum(0)
        mean = member.T @ y / size.clamp(min=1)
        std = (member.T @ (y - mean[group]).square() / (size - 1).clamp(min=1)).sqrt()
        rounding = 4 * torch.finfo(y.dtype).eps * mean.abs()
        std = torch.where(std > rounding, std, torch.ones_like(std))
        few = size < 2
        return cls(torch.where(few, every.mean, mean), torch.where(few, every.std, std))

    def of_group(self, group: Tensor) -> Self:
        """The scales of `n` scores, given the numbers of their groups."""
        return type(self)(self.mean[group], self.std[group])

    def __call__(self, y: Tensor) -> Tensor:
        """Standardized values of scores, of their shape, in the precision of the scale."""
        return (y.to(self.mean.dtype) - self.mean) / self.std

    def inverse(self, v: Tensor) -> Tensor:
        """Scores of standardized values, of their shape, in the precision of the scale."""
        return v.to(self.mean.dtype) * self.std + self.mean

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return type(self)(self.mean.to(device), self.std.to(device))


def deviation(values: Tensor, dim: int | None = None) -> Tensor:
    """Standard deviation over a dimension, or over all; 0 of a single value."""
    n = values.numel() if dim is None else values.shape[dim]
    return values.std(dim, correction=min(1, n - 1))
