"""Standardized scores: what every model of the score, and every reward, is made of."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor


class Scale(NamedTuple):
    """The affine map between scores and their standardized values.

    Scores come in double precision, and are standardized in it: an offset of 1e9 costs differences of 1 nothing.
    """

    mean: Tensor
    """A scalar in the score's units."""
    std: Tensor
    """A positive scalar in the score's units; 1 for scores that do not differ, or differ by rounding alone."""

    @classmethod
    def of(cls, y: Tensor) -> Self:
        """The scale of `n` finite scores, at least one."""
        mean = y.mean()
        std = deviation(y)
        rounding = 4 * torch.finfo(y.dtype).eps * mean.abs()
        return cls(mean, torch.where(std > rounding, std, torch.ones_like(std)))

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
