"""Minus the squared distance to the origin, over a box; natural designs are Gaussian."""

import torch

from bbo_bench.core import Prior, Task
from bbo_bench.domains import Box


class Gaussian(Prior):
    latent_shape = torch.Size([2])

    def sample(self, n, rng):
        return torch.randn(n, 2, generator=rng, device=rng.device)

    def decode(self, z):
        return z.clamp(-5, 5)

    def encode(self, x):
        return x

    def to(self, device):
        return self


class Toy(Task):
    domain = Box(torch.full((2,), -5.0), torch.full((2,), 5.0))
    y_prior, best_known, infeasible_score = -2.0, 0.0, -50.0

    def __init__(self, noise_std=0.1):
        self.noise_std = noise_std

    prior = Gaussian
    evaluate = staticmethod(lambda x: -x.square().sum(1))
    valid = staticmethod(lambda x: x.norm(dim=1) < 5)
    features = staticmethod(lambda x: x)
    reference = staticmethod(lambda: torch.randn(64, 2, generator=torch.Generator().manual_seed(0)))
    render = staticmethod(lambda x, axes: axes.scatter(*x))
