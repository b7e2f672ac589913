"""The denoiser of sequences whose constraints are between neighbours: a linear-chain random field behind a network."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import Timesteps
from torch import Tensor, nn

from bbo_bench.diffusion.denoisers import Categorical, Convolution

POSITIONS = 16
"""Features of a position."""
FLOOR = 1e-12
"""Least belief in a token, which keeps contradictory neighbours from leaving none."""


class Chain(Categorical):
    """A `Categorical` denoiser whose tokens are a chain: its beliefs are the posterior marginals of all rows together.

    Rounds of belief propagation with one learnt matrix of transition weights give every token's distribution given the
    latents around it, exact as far as the rounds reach (Pearl 1988). So it is mostly the matrix that keeps sequences
    feasible. LoRA adapts the network alone. No weight depends on the length.

    Args:
        tokens: Size of the alphabet.
        scale: Of the latents, as in `OneHot`.
        rounds: How many tokens away beliefs are heard of.
        sharpness: Factor of the matrix in logarithms, by which it is learnt faster than the network.
        width: Of the network, a `Convolution`.
        depth: Of the network.
        kernel: Of the network.
    """

    def __init__(
        self, tokens: int, scale: float, rounds: int, sharpness: float, width: int, depth: int, kernel: int
    ) -> None:
        super().__init__(Convolution(1, 2 * tokens + POSITIONS, width, depth, kernel), tokens, scale)
        self.rounds, self.sharpness = rounds, sharpness
        self.position = Timesteps(POSITIONS, True, 0)
        self.transitions = nn.Parameter(torch.zeros(tokens, tokens))

    def context(self, x: Tensor, beliefs: Tensor, timestep: Tensor) -> Tensor:
        """See `Categorical.context`; the network sees latents and places too."""
        place = self.position(torch.linspace(0, 1000, x.shape[1], device=x.device)).expand(len(x), -1, -1)
        return torch.as_tensor(self.network(torch.cat([x, beliefs, place], -1), timestep)[..., : self.tokens])

    def marginals(self, potentials: Tensor) -> Tensor:
        """`n x L x tokens` marginals of the chain with these potentials, as far as `rounds` of messages carry."""
        own = potentials.softmax(-1).clamp_min(FLOOR)
        weights = (self.sharpness * self.transitions).softmax(-1)
        left = right = torch.full_like(own, 1 / self.tokens)  # what is heard from the left and from the right
        for _ in range(self.rounds):
            left = _normalized(nn.functional.pad((own * left)[:, :-1] @ weights, (0, 0, 1, 0), value=1.0))
            right = _normalized(nn.functional.pad((own * right)[:, 1:] @ weights.T, (0, 0, 0, 1), value=1.0))
        return _normalized(left * own * right)


def _normalized(x: Tensor) -> Tensor:
    return x / x.sum(-1, keepdim=True)
