"""How different designs are from each other."""

from __future__ import annotations

import torch
from torch import Tensor

from bbo_bench.metrics.naturalness import distances


def pairwise(x: Tensor) -> float:
    """Mean Euclidean distance between the pairs of `n x f` points."""
    return float(torch.pdist(x.double()).mean())


def bandwidth(reference: Tensor) -> float:
    """Median distance between the pairs of `m x f` reference points: the scale on which they differ.

    Raises:
        ValueError: If it is 0, as most of the points are equal.
    """
    if not (median := float(torch.pdist(reference.double()).median())):
        raise ValueError(f"{len(reference)} reference points must differ in their features, got a median distance of 0")
    return median


def vendi(x: Tensor, bandwidth: float) -> float:
    """Vendi score of `n x f` points: how many distinct ones they are worth, between 1 and `n`.

    The exponential of the entropy of the eigenvalues of K/n (Friedman and Dieng, 2023), with the Gaussian kernel
    K = exp(-d²/2h²). With the reference's median distance as bandwidth `h`, points that differ no more than real
    designs do are partly alike, so that the score does not saturate at `n`.
    """
    kernel = torch.exp(-0.5 * (distances(x, x) / bandwidth) ** 2)
    spectrum = torch.linalg.eigvalsh(kernel / len(x)).clamp(min=0)
    return float(torch.special.entr(spectrum).sum().exp())


def unique(x: Tensor) -> float:
    """Share of distinct designs among `n x shape`."""
    return len(torch.unique(x.flatten(1), dim=0)) / len(x)
