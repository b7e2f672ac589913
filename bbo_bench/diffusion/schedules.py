"""What is read off a diffusers scheduler: coefficients of the sampler's steps, and what a denoiser is trained on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, singledispatch
from typing import Any, NamedTuple, TypeAlias

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_sde_ve import ScoreSdeVeScheduler
from torch import Tensor

Scheduler: TypeAlias = DDIMScheduler | FlowMatchEulerDiscreteScheduler
SIGMAS = 0.01, 50.0
"""Lowest and highest noise over signal of the score SDE's steps."""


class Coefficients(NamedTuple):
    """Of `T` sampling steps, noisiest first."""

    timesteps: Tensor
    """`T`: what the network is told."""
    step: Tensor
    """`T x 3`: x_{t-1} as a combination of x_t, the network's output and standard normal noise."""
    start: Tensor
    """`T x 2`: E[x_0 | x_t] as a combination of x_t and the output."""
    noising: Tensor
    """`T x 2`: x_t as a combination of x_0 and noise."""


@singledispatch
def coefficients(scheduler: Scheduler, steps: int, eta: float) -> Coefficients:
    """Coefficients of the scheduler's sampler, with `steps` steps of stochasticity `eta`; alters the scheduler.

    Raises:
        TypeError: If no sampler is known for the scheduler.
        ValueError: If the scheduler clips its samples.
    """
    raise TypeError(f"expected a DDIMScheduler or FlowMatchEulerDiscreteScheduler, got {type(scheduler).__name__}")


@coefficients.register
def _(scheduler: DDIMScheduler, steps: int, eta: float) -> Coefficients:
    """Song et al. 2021, eq. 12; η = 1 is the DDPM posterior. The scheduler's own `step`, with unit inputs."""
    if scheduler.config.clip_sample or scheduler.config.thresholding:
        raise ValueError("a clipped step is not affine: set clip_sample=False and thresholding=False")
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()  # 1 - ā_{t-1} - σ_t² cancels at the first step
    scheduler.set_timesteps(steps)
    sample, output, noise = torch.eye(3, dtype=torch.double)
    unit = [
        scheduler.step(output, t, sample, eta=eta, variance_noise=noise if eta > 0 else None)
        for t in scheduler.timesteps
    ]
    alpha_bar = scheduler.alphas_cumprod[scheduler.timesteps].float()
    return Coefficients(
        timesteps=scheduler.timesteps.clone(),
        step=torch.stack([step.prev_sample for step in unit]).float(),
        start=torch.stack([step.pred_original_sample for step in unit]).float()[:, :2],
        noising=torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt()], -1),
    )


@coefficients.register
def _(scheduler: FlowMatchEulerDiscreteScheduler, steps: int, eta: float) -> Coefficients:
    """Flow-GRPO's sampler of a rectified flow x_t = (1 - t) x_0 + t ε, whose output v is ε - x_0 (Liu et al. 2025).

    Euler-Maruyama steps of dx = [v + σ_t²/2t (x + (1 - t) v)] dt + σ_t dW with σ_t = η √(t / (1 - t)), which has the
    marginals of the flow for every η (the paper's a). At t = 1, where σ_t is infinite, 1 - t is that of the next step.
    """
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
    t, dt = scheduler.sigmas[:-1, None], scheduler.sigmas.diff()[:, None]
    sigma = eta * (t / torch.where(t < 1, 1 - t, -dt)).sqrt()
    sample, output, noise = torch.eye(3)
    drift = output + sigma**2 / (2 * t) * (sample + (1 - t) * output)
    unit = [scheduler.step(d, at, sample).prev_sample for d, at in zip(drift, scheduler.timesteps, strict=True)]
    return Coefficients(
        timesteps=scheduler.timesteps.clone(),
        step=torch.stack(unit) + sigma * (-dt).sqrt() * noise,
        start=(sample - t * output)[:, :2],
        noising=torch.cat([1 - t, t], 1),
    )


def ddpm(scheduler: DDIMScheduler, steps: int) -> Coefficients:
    """Ho et al. 2020, algorithm 2, with the posterior's variance: the same steps as DDIM's with η = 1."""
    table = coefficients(scheduler, steps, 1.0)
    ancestral = DDPMScheduler.from_config(scheduler.config)
    ancestral.alphas_cumprod = ancestral.alphas_cumprod.double()
    ancestral.set_timesteps(steps)
    unit = [_drawn(partial(ancestral.step, OUTPUT, t, SAMPLE)) for t in table.timesteps]
    return table._replace(step=torch.stack(unit).float())


def score_sde(scheduler: DDIMScheduler, steps: int) -> Coefficients:
    """Euler-Maruyama steps of the reverse-time SDE (Song et al. 2021, eq. 6 and 46) between geometric noise levels.

    In its terms a state is y = x_0 + σ ε, here scaled to x = y / √(1 + σ²), so that the network sees what it was
    trained on; its timesteps are those of the nearest noise levels.
    """
    alpha_bar = scheduler.alphas_cumprod.double()
    levels = ((1 - alpha_bar) / alpha_bar).sqrt()
    reverse = ScoreSdeVeScheduler(num_train_timesteps=steps, sigma_min=SIGMAS[0], sigma_max=SIGMAS[1])
    reverse.set_timesteps(steps)
    reverse.set_sigmas(steps)
    wanted = reverse.discrete_sigmas.double().flip(0)
    timesteps = (levels.log() - wanted.log()[:, None]).abs().argmin(1)
    sigma = levels[timesteps]
    reverse.discrete_sigmas = sigma.flip(0)
    scale = (1 + sigma**2).rsqrt()
    signal, noise = scale, sigma * scale  # of x_0 and ε in x
    unit = []
    for k in range(steps):
        score = -(noise[k] * SAMPLE + signal[k] * OUTPUT) / sigma[k]
        time = torch.tensor((steps - 1 - k) / max(steps - 1, 1), dtype=torch.double)
        step = partial(reverse.step_pred, score, time, SAMPLE / scale[k])
        following = scale[k + 1] if k + 1 < steps else 1.0
        unit.append(following * _drawn(step))
    return Coefficients(
        timesteps=timesteps,
        step=torch.stack(unit).float(),
        start=torch.stack([signal, -noise], -1).float(),
        noising=torch.stack([signal, noise], -1).float(),
    )


SAMPLERS: dict[str, Callable[[DDIMScheduler, int], Coefficients]] = {"ddpm": ddpm, "score_sde": score_sde}
"""Samplers of a diffusion beside DDIM, which has η."""
SAMPLE, OUTPUT, _ = torch.eye(3, dtype=torch.double)[:, None]


def _drawn(step: Callable[..., Any]) -> Tensor:
    """A step's coefficients of sample, output and the noise that it draws itself, from the three numbers that it gives.

    The third is noise alone.
    """
    [outcome] = step(generator=torch.Generator().manual_seed(0)).prev_sample
    noise = torch.randn(1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)[0]
    std = outcome[2] / noise[2]
    return torch.cat([outcome[:2] - std * noise[:2], std[None]])


@singledispatch
def example(scheduler: Scheduler, x0: Tensor, noise: Tensor, i: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy latents, timesteps and the outputs to learn, for latents noised to the `i`-th training timesteps.

    Args:
        scheduler: As it was made: no sampling steps are set.
        x0: `n x latent_shape` latents.
        noise: Standard normal, as many.
        i: `n` integers below `scheduler.config.num_train_timesteps`.

    Raises:
        TypeError: If the scheduler is of an unknown kind.
    """
    raise TypeError(f"expected a DDIMScheduler or FlowMatchEulerDiscreteScheduler, got {type(scheduler).__name__}")


@example.register
def _(scheduler: DDIMScheduler, x0: Tensor, noise: Tensor, i: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """v-prediction (Salimans & Ho 2022)."""
    return scheduler.add_noise(x0, noise, i), i, scheduler.get_velocity(x0, noise, i)


@example.register
def _(
    scheduler: FlowMatchEulerDiscreteScheduler, x0: Tensor, noise: Tensor, i: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Conditional flow matching along straight lines (Liu et al. 2023, Lipman et al. 2023)."""
    i = i.to(scheduler.sigmas.device)
    t = scheduler.sigmas[i].to(x0).reshape(-1, *[1] * (x0.ndim - 1))
    return (1 - t) * x0 + t * noise, scheduler.timesteps[i].to(x0), noise - x0
