"""A denoiser that is told more than the noisy latent and its timestep."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bbo_bench.diffusion.denoisers import MLP


class Conditioned(nn.Module):
    """A denoiser, and added to its output a perceptron of x_t and of a condition, which starts at zero.

    Args:
        denoiser: The network that it starts as.
        dim: Size of a latent, over all its dimensions.
        extra: Size of a condition, over all its dimensions.
        width: Size of the perceptron's hidden layers.
    """

    condition: Tensor
    """Conditions of the `n` noisy latents of the next pass."""

    def __init__(self, denoiser: nn.Module, dim: int, extra: int, width: int) -> None:
        super().__init__()
        self.denoiser = copy.deepcopy(denoiser)
        self.correction = MLP(dim + extra, width, depth=2)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """See `Denoiser`."""
        both = torch.cat([x.flatten(1), self.condition.flatten(1)], 1)
        correction: Tensor = self.correction(both, timestep)[:, : x[0].numel()]
        return torch.as_tensor(self.denoiser(x, timestep)) + correction.reshape(x.shape)
