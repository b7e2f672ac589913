"""Pictures made of pictures: smaller, moved, in other colours, spoilt."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, pad


def small(x: Tensor) -> Tensor:
    """`n x 3 x 32 x 32` pictures with pixels in [0, 1] of `n x 3 x 64 x 64` bytes."""
    return avg_pool2d(x.float() / 255, 2)


def moved(x: Tensor, rng: Generator, turn: float, scale: tuple[float, float], shift: float) -> Tensor:
    """The same of pictures that are turned, scaled, shifted and mirrored at random, on white.

    Args:
        x: `n x 3 x 64 x 64` bytes.
        rng: Generator.
        turn: At most, in degrees.
        scale: At least and at most.
        shift: At most, in halves of the side.
    """
    u = 2 * torch.rand(5, len(x), generator=rng) - 1
    angle = u[0] * turn * math.pi / 180
    size = 2 / (scale[0] + scale[1] + u[1] * (scale[1] - scale[0]))
    cosine, sine, side = size * angle.cos(), size * angle.sin(), u[2].sign()
    rows = [torch.stack([side * cosine, -sine, u[3] * shift], 1), torch.stack([side * sine, cosine, u[4] * shift], 1)]
    grid = affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return avg_pool2d(1 - grid_sample(1 - x.float() / 255, grid, align_corners=False), 2)


def varied(x: Tensor, rng: Generator) -> Tensor:
    """Pictures with pixels in [0, 1], some blurred, all of other colours and with noise."""
    blurred = torch.rand(len(x), 1, 1, 1, generator=rng) < 0.3
    x = torch.where(blurred, avg_pool2d(pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1), x)
    hue = 1 + 0.15 * (2 * torch.rand(len(x), 3, 1, 1, generator=rng) - 1)
    noise = 0.06 * torch.rand(len(x), 1, 1, 1, generator=rng) * torch.randn(x.shape, generator=rng)
    return (1 - (1 - x) * hue + noise).clamp(0, 1)


def spoilt(x: Tensor, rng: Generator) -> Tensor:
    """Worse pictures: blurred, faded, noisy, or with a part missing, or several of these, in measure drawn for each."""
    strength = 0.2 + 0.8 * torch.rand(4, len(x), 1, 1, 1, generator=rng)
    chosen = torch.rand(4, len(x), 1, 1, 1, generator=rng) < 0.3
    one = torch.randint(4, (1, len(x), 1, 1, 1), generator=rng)
    chosen = chosen.scatter(0, one, torch.ones_like(one, dtype=torch.bool))
    blurred = avg_pool2d(pad(x, (2, 2, 2, 2), mode="replicate"), 5, 1)
    x = torch.where(chosen[0], torch.lerp(x, blurred, strength[0]), x)
    x = torch.where(chosen[1], torch.lerp(x, torch.full_like(x, 0.8), 0.7 * strength[1]), x)
    x = torch.where(chosen[2], x + 0.2 * strength[2] * torch.randn(x.shape, generator=rng), x)
    side = torch.arange(32)
    edge = (6 + 12 * strength[3]).floor()
    corner = torch.rand(2, len(x), 1, 1, 1, generator=rng) * (32 - edge)
    inside = (side[:, None] >= corner[0]) & (side[:, None] < corner[0] + edge)
    inside = inside & (side >= corner[1]) & (side < corner[1] + edge)
    return torch.where(chosen[3] & inside, 1.0, x).clamp(0, 1)
