"""Affine coordinates in which a sample looks round: what CMA-ES starts from, and where Gaussian processes live."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor


class Whitening:
    """Coordinates along the principal axes of a sample, in units of `unit` standard deviations.

    A single point has none: its axes are the unit cube's, and the deviations those of the uniform distribution.

    Args:
        u: `n x d` points in double precision.
        unit: Standard deviations of the sample in one unit of length.
        shrinkage: Weight of its diagonal in the covariance, which else is singular for few points.
    """

    center: Tensor
    root: Tensor
    inverse_root: Tensor

    def __init__(self, u: Tensor, unit: float = 1.0, shrinkage: float = 0.02) -> None:
        d = u.shape[1]
        covariance = u.T.cov().reshape(d, d) if len(u) > 1 else torch.eye(d).to(u) / 12
        diagonal = covariance.diagonal().clamp_min(1e-12).diag()
        variance, axes = torch.linalg.eigh((1 - shrinkage) * covariance + shrinkage * diagonal)
        self.center, self.root = u.mean(0), axes * variance.sqrt() * unit
        self.inverse_root = axes.T / (variance.sqrt() * unit)[:, None]

    @classmethod
    def identity(cls, u: Tensor) -> Self:
        """The coordinates that `u` has already."""
        whitening = cls(u)
        whitening.center, whitening.root = torch.zeros_like(u[0]), torch.eye(u.shape[1]).to(u)
        whitening.inverse_root = whitening.root
        return whitening

    def __call__(self, u: Tensor) -> Tensor:
        """`n x d` whitened coordinates of `n x d` points."""
        return (u - self.center) @ self.inverse_root.T

    def inverse(self, v: Tensor) -> Tensor:
        """`n x d` points of `n x d` whitened coordinates."""
        return v @ self.root.T + self.center
