"""Denoisers: networks that map noisy latents and their timesteps to the scheduler's prediction target."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn


class MLP(nn.Module):
    """Residual multilayer perceptron for latents that are vectors.

    The output layer starts at zero: an untrained `MLP` predicts zero, which under v-prediction is the exact denoiser of
    the standard normal distribution.

    Args:
        dim: Size of a latent.
        width: Size of the hidden layers.
        depth: Number of residual blocks.
    """

    def __init__(self, dim: int, width: int = 256, depth: int = 3) -> None:
        super().__init__()
        self.embed_time = nn.Sequential(Timesteps(64, True, 0), TimestepEmbedding(64, width))
        self.embed = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x dim` noisy latents at `n` timesteps (or one for all), of the latents' shape."""
        time = self.embed_time(timestep.reshape(-1))
        h = self.embed(x)
        for block in self.blocks:
            h = block(h, time)
        output: Tensor = self.out(self.norm(h))
        return output


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.time = nn.Linear(width, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        hidden = nn.functional.silu(self.hidden(self.norm(h)) + self.time(time))
        return h + torch.as_tensor(self.out(hidden))
