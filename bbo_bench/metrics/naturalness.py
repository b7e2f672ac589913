"""How close designs are to real ones: by features, or by the prior's likelihood."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def elbo_z(elbo: Tensor, reference: Tensor) -> float:
    """Mean ELBO of `n` designs, in standard deviations of the `m` reference designs' above their mean.

    NaN where the reference has no standard deviation: of fewer than two designs, or of equal ones.
    """
    if len(reference) < 2 or not (deviation := reference.double().std()):
        return math.nan
    return float((elbo.double().mean() - reference.double().mean()) / deviation)


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between the Gaussians that fit `n x f` and `m x f` features.

    |mean difference|² + tr(A + B - 2 (A^½ B A^½)^½) for covariances A and B (Heusel et al., 2017). With A = U'U and
    B = V'V the last trace is the sum of the singular values of U V', so no root of a covariance is taken, and fewer
    samples than features do no harm. NaN where a set has fewer than two points, which no Gaussian fits.

    Raises:
        ValueError: If features are malformed or not finite.
    """
    a, b = points(a), points(b)
    if min(len(a), len(b)) < 2:
        return math.nan
    means, factors = zip(_gaussian(a), _gaussian(b), strict=True)
    spread = sum(factor.square().sum() for factor in factors)
    overlap = torch.linalg.svdvals(factors[0] @ factors[1].T).sum()
    return float((means[0] - means[1]).square().sum() + spread - 2 * overlap)


def precision(x: Tensor, reference: Tensor, k: int = 3) -> float:
    """Share of `n x f` points that lie on the `k`-nearest-neighbour manifold of the `m x f` reference points.

    The manifold is the union of the balls around the reference points that reach to their `k`-th neighbours
    (Kynkäänniemi et al., NeurIPS 2019, eq. 1 and 2). With the two sets exchanged, this is the recall. NaN of no points.

    Raises:
        ValueError: If the reference has no more than `k` points, or points are malformed or not finite.
    """
    x, reference = points(x), points(reference)
    return float((distances(x, reference) <= _radii(reference, k)).any(1).double().mean())


def recall(x: Tensor, reference: Tensor, k: int = 3) -> float:
    """Share of the `m x f` reference points that lie on the manifold of the `n x f` points; see `precision`."""
    return precision(reference, x, k)


def density(x: Tensor, reference: Tensor, k: int = 5) -> float:
    """How many of the balls around reference points an average one of `n x f` points lies in, over `k`.

    The balls are those of `precision`, without their surface; a sample of the reference's law has about 1, however many
    of its points lie in one ball (Naeem et al., ICML 2020, eq. 3). More than 1 where real designs are dense.

    Raises:
        ValueError: If the reference has no more than `k` points, or points are malformed or not finite.
    """
    x, reference = points(x), points(reference)
    return float((distances(x, reference) < _radii(reference, k)).double().sum(1).mean()) / k


def coverage(x: Tensor, reference: Tensor, k: int = 5) -> float:
    """Share of the `m x f` reference points in whose balls there is one of `n x f` points (Naeem et al., eq. 3).

    Unlike the recall, it builds no manifold on `x`, which outliers would inflate.

    Raises:
        ValueError: If the reference has no more than `k` points, or points are malformed or not finite.
    """
    x, reference = points(x), points(reference)
    return float((distances(x, reference) < _radii(reference, k)).any(0).double().mean())


def points(x: Tensor) -> Tensor:
    """`n x f` points in double precision: NaN would compare as far away, and count as an answer.

    Raises:
        ValueError: If they are not `n x f`, or not finite.
    """
    if x.ndim != 2:
        raise ValueError(f"points must be n x f, got a tensor of {tuple(x.shape)}")
    if not (finite := x.isfinite()).all():
        raise ValueError(f"points must be finite, got {int((~finite).sum())} numbers that are NaN or infinite")
    return x.double()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """`n x m` Euclidean distances, exactly 0 between equal points (a matrix product would leave rounding errors)."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def _radii(reference: Tensor, k: int) -> Tensor:
    """Distances of `m x f` points to their `k`-th neighbours among them."""
    if len(reference) <= k:
        raise ValueError(f"a {k}-nearest-neighbour manifold needs more than {k} points, got {len(reference)}")
    return distances(reference, reference).kthvalue(k + 1, dim=1).values  # the nearest is the point itself


def _gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of `n x f` points, and a factor `U` of their covariance `U'U` with no more than `min(n, f)` rows."""
    mean = x.mean(0)
    return mean, torch.linalg.qr((x - mean) / (len(x) - 1) ** 0.5, mode="r").R
