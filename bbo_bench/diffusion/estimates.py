"""Estimates x̂_0 of what a noisy state leads to, at which a soft Q-function looks; differentiable in the state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bbo_bench.diffusion.consistency import consistency_model
from bbo_bench.diffusion.prior import DiffusionPrior, read_recipe
from bbo_bench.diffusion.transition import Denoiser, Transition

NATURAL = 0.9
"""Share of the prior's validity and precision from which on its consistency model is good."""
Estimate = Callable[[Tensor, Tensor], Tensor]
"""Maps `n` step numbers and `n x latent_shape` states to x̂_0 of that shape; x itself at T, where no step is left."""


def tweedie(prior: DiffusionPrior, step: Transition) -> Estimate:
    """The prior's posterior mean E[x_0 | x_t]."""
    return partial(_ahead, prior.denoiser, step)


def consistency(prior: DiffusionPrior, step: Transition) -> Estimate:
    """The end of the probability-flow ODE from x_t, by the prior's consistency model (Song et al. 2023)."""
    return partial(_ahead, consistency_model(prior), step)


def ddim2(prior: DiffusionPrior, step: Transition) -> Estimate:
    """Two deterministic DDIM steps: to the middle of the steps that are left, and from there to the end."""

    def estimate(k: Tensor, x: Tensor) -> Tensor:
        middle = (k + step.steps + 1) // 2
        x0 = _ahead(prior.denoiser, step, k, x)
        from_, to = k.clamp(max=step.steps - 1), middle.clamp(max=step.steps - 1)
        halfway = step.noise(to, x0, step.noise_in(from_, x, x0))
        return _where(middle < step.steps, _ahead(prior.denoiser, step, to, halfway), x0)

    return estimate


ESTIMATES: dict[str, Callable[[DiffusionPrior, Transition], Estimate]] = {
    "consistency": consistency,
    "tweedie": tweedie,
    "ddim2": ddim2,
}


def best(prior: DiffusionPrior) -> str:
    """The name of the estimate for a prior by the quality that its recipe records.

    `consistency` where one step of the consistency model makes designs nearly as valid and as precise as the prior's
    own, and where nothing is recorded; else `tweedie`, as where there is no such model.
    """
    if not prior.distillable:
        return "tweedie"
    made = {} if prior.folder is None else read_recipe(prior.folder).get("made", {})
    own, model = made.get("quality"), made.get("consistency", {}).get("quality")
    natural = not own or not model or all(model[key] >= NATURAL * own[key] for key in ("validity", "precision"))
    return "consistency" if natural else "tweedie"


def _ahead(denoiser: Denoiser, step: Transition, k: Tensor, x: Tensor) -> Tensor:
    inner = k.clamp(max=step.steps - 1)
    return _where(k < step.steps, step.denoise(inner, x, denoiser(x, step.timesteps[inner])), x)


def _where(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where(condition.reshape(-1, *[1] * (first.ndim - 1)), first, second)
