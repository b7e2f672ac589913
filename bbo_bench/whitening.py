"""Affine coordinates in which a sample looks round: what CMA-ES starts from, and where Gaussian processes live."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

LEAST = 3.09
"""Standard deviations beyond which one in a thousand falls by chance."""


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
        return cls._along(torch.zeros_like(u[0]), torch.ones_like(u[0]))

    @classmethod
    def scaled(cls, u: Tensor, unit: float = 1.0) -> Self:
        """The coordinates that `u` has already, each in units of `unit` of its standard deviations."""
        std = u.std(0).clamp_min(1e-6) if len(u) > 1 else torch.full_like(u[0], 12**-0.5)
        return cls._along(u.mean(0), unit * std)

    @classmethod
    def _along(cls, center: Tensor, scale: Tensor) -> Self:
        whitening = cls.__new__(cls)
        whitening.center, whitening.root, whitening.inverse_root = center, scale.diag(), (1 / scale).diag()
        return whitening

    def __call__(self, u: Tensor) -> Tensor:
        """`n x d` whitened coordinates of `n x d` points."""
        return (u - self.center) @ self.inverse_root.T

    def inverse(self, v: Tensor) -> Tensor:
        """`n x d` points of `n x d` whitened coordinates."""
        return v @ self.root.T + self.center


def dependent(u: Tensor) -> bool:
    """Whether the coordinates of `n x d` points depend on each other linearly, beyond chance (p < .001).

    Their principal axes say something then; of independent coordinates they are those of chance. Schott's test
    (*Testing for complete independence in high dimensions*, Biometrika 2005) needs no more points than coordinates: the
    sum of the squared correlations is normal where there are none.
    """
    degrees, d = len(u) - 1, u.shape[1]
    if degrees < 2 or d < 2:
        return False
    standardized = (u - u.mean(0)) / u.std(0).clamp(min=1e-12)
    squared = (standardized.T @ standardized / degrees).square().tril(-1).sum()
    variance = d * (d - 1) * (degrees - 1) / (degrees**2 * (degrees + 2))
    return float((squared - d * (d - 1) / (2 * degrees)) / variance**0.5) > LEAST
