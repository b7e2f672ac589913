"""The denoiser of sequences whose constraints are between neighbours: a linear-chain random field behind a network."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import Timesteps
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn

from bbo_bench.diffusion.denoisers import Convolution

POSITIONS = 16
"""Features of a position."""
FLOOR = 1e-12
"""Least belief in a token, which keeps contradictory neighbours from leaving none."""


class Chain(nn.Module):
    """Denoiser of one-hot latents: posterior marginals of a chain whose unary potentials are a network's.

    What a noisy latent says of its own token is known, as the noise is; the network adds to that. Rounds of belief
    propagation with one learnt matrix of transition weights then give every token's distribution given the latents
    around it, exact as far as the rounds reach (Pearl 1988), and so E[x_0 | x_t], of which the output is the v. So it
    is mostly the matrix that keeps sequences feasible. LoRA adapts the network alone. No weight depends on the length.

    Args:
        tokens: Size of the alphabet.
        scale: Of the latents, as in `OneHot`.
        rounds: How many tokens away beliefs are heard of.
        sharpness: Factor of the matrix in logarithms, by which it is learnt faster than the network.
        width: Of the network, a `Convolution`.
        depth: Of the network.
        kernel: Of the network.
    """

    alpha_bar: Tensor

    def __init__(
        self, tokens: int, scale: float, rounds: int, sharpness: float, width: int, depth: int, kernel: int
    ) -> None:
        super().__init__()
        self.tokens, self.rounds, self.sharpness = tokens, rounds, sharpness
        self.scale = scale * tokens / (tokens - 1) ** 0.5
        scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2")
        self.register_buffer("alpha_bar", scheduler.alphas_cumprod.float(), persistent=False)
        self.position = Timesteps(POSITIONS, True, 0)
        self.network = Convolution(1, 2 * tokens + POSITIONS, width, depth, kernel)
        self.transitions = nn.Parameter(torch.zeros(tokens, tokens))

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions of v for `n x L x tokens` noisy latents at `n` timesteps (or one for all), of their shape."""
        alpha_bar = self.alpha_bar[timestep.reshape(-1), None, None]
        evidence = alpha_bar.sqrt() * self.scale / (1 - alpha_bar) * x
        place = self.position(torch.linspace(0, 1000, x.shape[1], device=x.device)).expand(len(x), -1, -1)
        seen = torch.cat([x, self.tokens**0.5 * evidence.softmax(-1), place], -1)
        marginals = self.propagate(evidence + self.network(seen, timestep)[..., : self.tokens])
        x0 = self.scale * (marginals - 1 / self.tokens)
        v: Tensor = (alpha_bar.sqrt() * x - x0) / (1 - alpha_bar).sqrt()
        return v

    def propagate(self, unary: Tensor) -> Tensor:
        """`n x L x tokens` marginals of the chain with these potentials, as far as `rounds` of messages carry."""
        own = unary.softmax(-1).clamp_min(FLOOR)
        weights = (self.sharpness * self.transitions).softmax(-1)
        left = right = torch.full_like(own, 1 / self.tokens)  # what is heard from the left and from the right
        for _ in range(self.rounds):
            left = _normalized(nn.functional.pad((own * left)[:, :-1] @ weights, (0, 0, 1, 0), value=1.0))
            right = _normalized(nn.functional.pad((own * right)[:, 1:] @ weights.T, (0, 0, 0, 1), value=1.0))
        return _normalized(left * own * right)


def _normalized(x: Tensor) -> Tensor:
    return x / x.sum(-1, keepdim=True)
