"""Perceptrons of one shape, evaluated and trained side by side: all heads in one batched product per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor
from torch.nn.functional import silu

Weights = list[Tensor]
"""Matrices `heads x in x out` and biases `heads x 1 x out`, layer by layer."""


def initial(heads: int, sizes: Sequence[int], like: Tensor, rng: Generator) -> Weights:
    """Uniform initial weights for layers of these sizes, in the type of `like` and on its device."""
    weights = []
    for fan_in, fan_out in pairwise(sizes):
        bound = 1 / math.sqrt(fan_in)
        for rows in (fan_in, 1):
            w = torch.rand(heads, rows, fan_out, generator=rng, device=like.device, dtype=like.dtype)
            weights.append((2 * w - 1) * bound)
    return weights


def features(weights: Weights, z: Tensor) -> Tensor:
    """Last hidden features of `n x d` or `heads x n x d` points, `heads x n x width`."""
    h = z.expand(len(weights[0]), *z.shape[-2:])
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h = silu(torch.baddbmm(b, h, w))
    return h


def output(weights: Weights, features: Tensor) -> Tensor:
    """Outputs of `heads x n x width` features, `heads x n`."""
    return torch.baddbmm(weights[-1], features, weights[-2]).squeeze(-1)


def forward(weights: Weights, z: Tensor) -> Tensor:
    """Outputs for `n x d` or `heads x n x d` points, `heads x n`."""
    return output(weights, features(weights, z))


def copied(weights: Weights) -> Weights:
    """The weights as they are now."""
    return [w.detach().clone() for w in weights]
