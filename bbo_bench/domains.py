"""Domains of designs."""

from __future__ import annotations

from typing import Self

import torch
from torch import Generator, Tensor

from bbo_bench.core import Domain


class Box(Domain):
    """Real vectors between bounds, both included.

    Args:
        lower: Lower bounds, of the shape of a design.
        upper: Upper bounds, of the same shape.
    """

    def __init__(self, lower: Tensor, upper: Tensor) -> None:
        if lower.shape != upper.shape or not (lower < upper).all():
            raise ValueError("bounds must have one shape, and every lower bound must be below its upper bound")
        self.lower, self.upper = lower, upper
        self.shape = lower.shape

    def check(self, x: Tensor) -> Tensor:
        """See `Domain.check`."""
        sizes = " x ".join(map(str, ("n", *self.shape)))
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise ValueError(f"designs must be a floating-point tensor, got {getattr(x, 'dtype', type(x).__name__)}")
        if x.shape[1:] != self.shape or x.ndim != len(self.shape) + 1:
            raise ValueError(f"designs must be `{sizes}`, got {tuple(x.shape)}")
        if not (finite := x.isfinite()).all():
            raise ValueError(f"designs must be finite, got {int((~finite).sum())} entries that are NaN or infinite")
        outside = (x < self.lower) | (x > self.upper)
        if outside.any():
            row, *where = outside.nonzero()[0].tolist()
            low, value, high = (float(t) for t in (self.lower[*where], x[row, *where], self.upper[*where]))
            raise ValueError(
                f"designs must lie in the domain, but design {row} has {value:.6g} at {where}, "
                f"where [{low:.6g}, {high:.6g}] is allowed; clamp it to the bounds"
            )
        return x

    def sample(self, n: int, rng: Generator) -> Tensor:
        """See `Domain.sample`."""
        unit = torch.rand(n, *self.shape, generator=rng, device=self.lower.device, dtype=self.lower.dtype)
        return self.clamp(self.lower + unit * (self.upper - self.lower))

    def clamp(self, x: Tensor) -> Tensor:
        """`x` moved to the nearest point of the box."""
        return x.clamp(self.lower, self.upper)

    def normalize(self, x: Tensor) -> Tensor:
        """`n x shape` designs as points of the unit cube."""
        return (x - self.lower) / (self.upper - self.lower)

    def unnormalize(self, u: Tensor) -> Tensor:
        """`n x shape` points of the unit cube as designs."""
        return self.clamp(self.lower + u * (self.upper - self.lower))

    def to(self, device: torch.device) -> Self:
        """See `Domain.to`."""
        return type(self)(self.lower.to(device), self.upper.to(device))
