"""The denoiser of one-hot latents: beliefs about every row by Bayes' rule, to which a network adds the context."""

from __future__ import annotations

from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn


class Categorical(nn.Module):
    """Predicts v from probabilities of the categories, which the noisy latents and the network's logits give.

    A row x_t = √ā x_0 + √(1 - ā) ε, where x_0 is one-hot of height h, has the log-likelihoods √ā h x_t / (1 - ā) under
    the categories, up to a constant. The network sees the beliefs that follow from these alone, and adds to the
    log-likelihoods what a row's neighbours say of it; so E[x_0 | x_t] is a convex combination of the categories.

    Args:
        net: Maps `n x length/group x group categories` beliefs and timesteps to logits of that shape.
        height: What tells a one-hot entry of the latents from the others.
        group: Rows that the network takes as one.
        schedule: The `beta_schedule` of the prior's scheduler.
        timesteps: Its `num_train_timesteps`.
    """

    alpha_bar: Tensor

    def __init__(
        self,
        net: nn.Module,
        height: float,
        group: int,
        schedule: str = "squaredcos_cap_v2",
        timesteps: int = 1000,
    ) -> None:
        super().__init__()
        alpha_bar = DDIMScheduler(num_train_timesteps=timesteps, beta_schedule=schedule).alphas_cumprod
        self.register_buffer("alpha_bar", alpha_bar, persistent=False)
        self.height = height
        self.group = group
        self.net = net

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x length x categories` noisy latents at `n` timesteps (or one for all), of their shape."""
        alpha_bar = self.alpha_bar[timestep.reshape(-1).long()][:, None, None]
        likelihood = alpha_bar.sqrt() * self.height / (1 - alpha_bar) * x
        beliefs = x.shape[-1] ** 0.5 * likelihood.softmax(-1)
        context = self.net(beliefs.unflatten(1, (-1, self.group)).flatten(2), timestep).reshape(x.shape)
        x0 = self.height * ((likelihood + context).softmax(-1) - 1 / x.shape[-1])
        return (alpha_bar.sqrt() * x - x0) / (1 - alpha_bar).sqrt()
