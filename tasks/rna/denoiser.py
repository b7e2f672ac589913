"""The denoiser of this family: a perceptron that sees all positions of a sequence at once."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn

from bbo_bench.diffusion.denoisers import MLP


class Perceptron(nn.Module):
    """`MLP` for latents that are sequences, laid out as one vector, and a small network that all positions share.

    The first tells a position what the others say of it, far cheaper than attention would. The second joins this with
    what the position holds itself: the posterior of a token is a nonlinear function of the token's own noisy entries,
    for which the hidden layers of the first are too narrow.

    Args:
        length: Tokens in a sequence.
        tokens: Size of the alphabet.
        width: Size of the hidden layers.
        depth: Number of residual blocks.
        shared_width: Size of the hidden layer of the network that positions share.
    """

    def __init__(self, length: int, tokens: int, width: int = 256, depth: int = 3, shared_width: int = 64) -> None:
        super().__init__()
        self.mlp = MLP(length * tokens, width, depth)
        self.embed_time = nn.Sequential(Timesteps(64, True, 0), TimestepEmbedding(64, shared_width))
        self.join = nn.Linear(2 * tokens, shared_width)
        self.out = nn.Linear(shared_width, tokens)
        self.gate = nn.Linear(shared_width, tokens)
        for layer in (self.out, self.gate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x length x tokens` noisy latents at `n` timesteps (or one for all), of their shape."""
        time = self.embed_time(timestep.reshape(-1))[:, None]
        context = self.mlp(x.flatten(1), timestep).view_as(x)
        joined = nn.functional.silu(self.join(torch.cat((x, context), -1)) + time)
        output: Tensor = context + self.gate(time) * x + self.out(joined)
        return output
