"""How different designs are from each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bbo_bench.metrics.naturalness import distances, points


def pairwise(x: Tensor) -> float:
    """Mean Euclidean distance between the pairs of `n x f` points; NaN of fewer than two."""
    return float(torch.pdist(points(x)).mean())


def bandwidth(reference: Tensor) -> float:
    """Median distance between the pairs of `m x f` reference points: the scale on which they differ.

    Raises:
        ValueError: If there are fewer than two points, or it is 0, as most of them are equal.
    """
    if len(reference) < 2:
        raise ValueError(f"a median distance needs at least two reference points, got {len(reference)}")
    if not (median := float(torch.pdist(points(reference)).median())):
        raise ValueError(f"{len(reference)} reference points must differ in their features, got a median distance of 0")
    return median


def vendi(x: Tensor, bandwidth: float) -> float:
    """Vendi score of `n x f` points: how many distinct ones they are worth, between 1 and `n`.

    The exponential of the entropy of the eigenvalues of K/n (Friedman and Dieng, 2023), with the Gaussian kernel
    K = exp(-d²/2h²). With the reference's median distance as bandwidth `h`, points that differ no more than real
    designs do are partly alike, so that the score does not saturate at `n`. NaN of no points.
    """
    x = points(x)
    if not len(x):
        return math.nan
    kernel = torch.exp(-0.5 * (distances(x, x) / bandwidth) ** 2)
    spectrum = torch.linalg.eigvalsh(kernel / len(x)).clamp(min=0)
    return float(torch.special.entr(spectrum).sum().exp())


def unique(x: Tensor) -> float:
    """Share of distinct designs among `n x shape`; NaN of none."""
    return len(torch.unique(x.flatten(1), dim=0)) / len(x) if len(x) else math.nan
