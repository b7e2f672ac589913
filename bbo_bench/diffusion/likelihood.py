"""How likely latents are under a diffusion prior."""

from __future__ import annotations

import torch
from torch import Tensor

from bbo_bench.diffusion.transition import Denoiser, Transition

SEED = 0


@torch.no_grad()
def elbo(denoiser: Denoiser, transition: Transition, z: Tensor, sign: int = 1) -> Tensor:
    """Denoising ELBO of `n x latent_shape` latents in nats, an `n`-dim tensor; higher is more likely.

    −Σ_k KL(q(x_{t-1} | x_t, x_0) ‖ p_θ(x_{t-1} | x_t)) over all steps but the last (Ho et al. 2020, eq. 5): the ELBO of
    the latents noised to the last timestep, up to a constant. The last step alone would outweigh all others, by details
    far below what a design can show. One draw of noise per step, the same for every latent and every call, so that a
    latent's ELBO does not depend on its batch. With the `sign` -1 it is the opposite noise; the mean of both bounds is
    steeper in no direction by chance.
    """
    rng = torch.Generator(z.device).manual_seed(SEED)
    total = z.new_zeros(len(z))
    for k in range(transition.steps - 1):
        noise = sign * torch.randn(z.shape[1:], generator=rng, device=z.device, dtype=z.dtype).expand_as(z)
        x = transition.noise(k, z, noise)
        posterior = transition.mean(k, x, transition.target(k, x, z))
        total -= transition.kl(k, transition.mean_by(denoiser, k, x), posterior)
    return total
