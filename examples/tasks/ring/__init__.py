"""Ring: natural designs lie near the unit circle, and the score says no more than "go right"."""

import torch

from bbo_bench.core import Prior, Task
from bbo_bench.domains import Box
from bbo_bench.seeding import generator


class RingPrior(Prior):
    latent_shape = torch.Size([2])

    def sample(self, n, rng):
        z = torch.randn(n, 2, generator=rng, device=rng.device)
        return z / z.norm(dim=1, keepdim=True) + 0.02 * z

    def decode(self, z):
        return z.clamp(-2, 2)

    def encode(self, x):
        return x

    def to(self, device):
        return self


class Ring(Task):
    domain = Box(torch.full((2,), -2.0), torch.full((2,), 2.0))
    y_prior, best_known, infeasible_score, noise_std = 0.0, 1.2, -2.0, 0.1
    prior = RingPrior
    evaluate = staticmethod(lambda x: x[:, 0])
    valid = staticmethod(lambda x: (x.norm(dim=1) - 1).abs() <= 0.2)
    features = staticmethod(lambda x: x)
    reference = staticmethod(lambda: RingPrior().sample(256, generator(0, "reference")))
    render = staticmethod(lambda x, axes: axes.plot(*x.tolist(), "o"))
