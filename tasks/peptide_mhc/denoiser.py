"""A denoiser for sequences so short that every position may have weights of its own."""

from __future__ import annotations

from torch import Tensor

from bbo_bench.diffusion.denoisers import MLP


class PositionalMLP(MLP):
    """`MLP` for latents that are sequences, laid out as one vector.

    Args:
        length: Tokens in a sequence.
        tokens: Size of the alphabet.
        width: Size of the hidden layers.
        depth: Number of residual blocks.
    """

    def __init__(self, length: int, tokens: int, width: int = 256, depth: int = 3) -> None:
        super().__init__(length * tokens, width, depth)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x length x tokens` noisy latents at `n` timesteps (or one for all), of their shape."""
        return super().forward(x.flatten(1), timestep).view_as(x)
