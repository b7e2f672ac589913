"""Probit: the codec under which uniform designs are standard normal latents."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from bbo_bench.diffusion.codecs import Codec
from bbo_bench.domains import Box

EDGE = 1e-6
"""How close to the border of the unit cube a design is told from one on it; those are 4.75 in latents."""


class Probit(Codec):
    """Latents are the normal quantiles of a design's place in its box, coordinate by coordinate.

    Uniform designs become standard normal latents, which a diffusion model starts from, so it has only to learn in what
    the data differ from them. No latent is decoded to the border, which a clamp would do to many.

    Args:
        box: The designs.
    """

    def __init__(self, box: Box) -> None:
        super().__init__()
        self.box, self.latent_shape = box, box.shape

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""
        return self.box.unnormalize((1 + torch.erf(z / 2**0.5)) / 2)

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        return 2**0.5 * torch.erfinv(2 * self.box.normalize(x).clamp(EDGE, 1 - EDGE) - 1)

    def moved(self, device: torch.device) -> Self:
        """A copy on `device`."""
        return type(self)(self.box.to(device))
