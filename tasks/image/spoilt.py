"""Pictures that are no pictures of clothes, made from such: what the network of features learns to tell from them."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, interpolate


def spoil(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """`n x 1 x 28 x 28` pictures spoilt in a way drawn for each; `others` are mixed into some."""
    ways = torch.stack([way(x, others, rng) for way in WAYS])
    drawn = torch.randint(len(WAYS), (len(x),), generator=rng)
    return ways[drawn, torch.arange(len(x))].clamp(0, 1)


def _uniform(x: Tensor, low: float, high: float, rng: Generator) -> Tensor:
    return low + (high - low) * torch.rand(len(x), 1, 1, 1, generator=rng)


def _noisy(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """White noise of standard deviation .1 to .5 on it."""
    return x + _uniform(x, 0.1, 0.5, rng) * torch.randn(x.shape, generator=rng)


def _speckled(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """Some pixels random."""
    hit = torch.rand(x.shape, generator=rng) < _uniform(x, 0.05, 1.0, rng)
    return torch.where(hit, torch.rand(x.shape, generator=rng), x)


def _flat(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """One grey level, or nearly."""
    return _uniform(x, 0, 1, rng) + _uniform(x, 0, 0.05, rng) * torch.randn(x.shape, generator=rng)


def _blurred(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """Averaged over 4 x 4 pixels, then smooth."""
    return interpolate(avg_pool2d(x, 4), size=x.shape[-2:], mode="bilinear")


def _blocks(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """Averaged over 4 x 4 pixels."""
    return interpolate(avg_pool2d(x, 4), size=x.shape[-2:])


def _blended(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """The mean of two pictures."""
    return (x + others) / 2


def _halved(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """The left half of one, the right of another, upside down."""
    return torch.cat([x[..., :14], others[..., 14:].flip(-2)], -1)


def _scrambled(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """Patches of 7 x 7 pixels in another order."""
    n = len(x)
    patches = x.reshape(n, 4, 7, 4, 7).transpose(2, 3).reshape(n, 16, 49)
    order = torch.rand(n, 16, generator=rng).argsort(1)[..., None].expand(-1, -1, 49)
    return patches.gather(1, order).reshape(n, 4, 4, 7, 7).transpose(2, 3).reshape(x.shape)


def _covered(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """A square of 12 x 12 pixels of one grey level on it."""
    left, top = (torch.randint(16, (len(x), 1, 1, 1), generator=rng) for _ in range(2))
    i = torch.arange(28)
    inside = ((i >= left) & (i < left + 12)) & ((i[:, None] >= top) & (i[:, None] < top + 12))
    return torch.where(inside, _uniform(x, 0, 1, rng), x)


def _inverted(x: Tensor, others: Tensor, rng: Generator) -> Tensor:
    """Dark on light."""
    return 1 - x


WAYS = (_noisy, _speckled, _flat, _blurred, _blocks, _blended, _halved, _scrambled, _covered, _inverted)
