"""GatedMLP: a perceptron narrower than its latents that can still let them through."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bbo_bench.diffusion.denoisers import MLP


class GatedMLP(MLP):
    """An `MLP` with its input added to its output, times a number that follows from the timestep and starts at zero.

    A consistency model of nearly normal latents is nearly the identity at the noisiest step, which an `MLP` narrower
    than the latents cannot be: it would send all noise to one design.

    Args:
        dim: Size of a latent.
        width: Size of the hidden layers.
        depth: Number of residual blocks.
    """

    def __init__(self, dim: int, width: int, depth: int) -> None:
        super().__init__(dim, width, depth)
        self.gate = nn.Linear(width, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """See `MLP.forward`."""
        time = self.embed_time(timestep.reshape(-1))
        return super().forward(x, timestep) + torch.as_tensor(self.gate(nn.functional.silu(time))) * x
