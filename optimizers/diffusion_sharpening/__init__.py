"""Diffusion-Sharpening: regression on the best of some short continuations of a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from bbo_bench.core import Problem
from bbo_bench.diffusion.finetune import FineTuner, check_counts


class Variants(NamedTuple):
    """Some short rollouts from each of `n` states."""

    x: Tensor
    """`n x latent_shape`: the states that they start from."""
    k: Tensor
    """`n` step numbers."""
    output: Tensor
    """`n x latent_shape`: the policy's output there."""
    targets: Tensor
    """`n x variants x latent_shape`: the output that would lead to x_0 as the policy expects it where they end."""
    score: Tensor
    """`n x variants`: how good they are."""

    @property
    def best(self) -> Tensor:
        """`n x latent_shape`: the target of the best rollouts."""
        return self.targets[torch.arange(len(self.k), device=self.k.device), self.score.argmax(1)]

    @property
    def worst(self) -> Tensor:
        """`n x latent_shape`: the target of the worst."""
        return self.targets[torch.arange(len(self.k), device=self.k.device), self.score.argmin(1)]


class DiffusionSharpening(FineTuner):
    """Fits the policy to where the best of some short rollouts from one state leads (Tian et al. 2025).

    The target is the policy's own output, moved by what the best rollout's end has above the mean of all. A rollout's
    score is the mean over its steps of r(x̂_0) - α log p_θ / p of the steps so far. In the prior tilted by exp(r/α) no
    step changes that on average, where r(x̂_0) is the value of a state up to a constant: no rollout is better, but by
    chance.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        iterations: Sets of samples per round.
        samples: Fresh samples of the policy per set, from whose noised states rollouts start.
        updates: Gradient steps per set.
        batch_size: States per gradient step.
        variants: Rollouts from each state.
        length: Their number of steps.
        **shared: See `FineTuner`.

    Raises:
        ValueError: If a setting is out of range, or there is no proxy.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        iterations: int,
        samples: int,
        updates: int,
        batch_size: int,
        variants: int,
        length: int,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(iterations=iterations, samples=samples, updates=updates, batch_size=batch_size, length=length)
        if variants < 2 or length > self.transition.steps:
            raise ValueError(
                f"expected variants >= 2 and length <= {self.transition.steps} steps, got {variants=}, {length=}"
            )
        if self.proxy is None:
            raise ValueError("rewards of half-denoised designs need a model: expected a proxy, got proxy=null")
        self.iterations, self.samples = iterations, samples
        self.updates, self.batch_size = updates, batch_size
        self.variants, self.length = variants, length

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        for _ in range(self.iterations):
            z = self.sample(self.samples)
            for _ in range(self.updates):
                rows = torch.randint(len(z), (self.batch_size,), generator=self.rng, device=z.device)
                yield self.loss(self.rolled(z[rows]))

    def loss(self, variants: Variants) -> Tensor:
        """Denoising loss on the best variants."""
        target = variants.output + variants.best - variants.targets.mean(1)
        return square(self.policy(variants.x, self.transition.timesteps[variants.k]) - target).mean()

    @torch.no_grad()
    def rolled(self, z: Tensor) -> Variants:
        """Variants from `n x latent_shape` latents, noised to any step; those that come to x_0 stay there."""
        step, net = self.transition, self.policy.merged()
        start = torch.randint(step.steps, (len(z),), generator=self.rng, device=z.device)
        noised = step.noise(start, z, self.prior.noise(len(z), self.rng))
        here = net(noised, step.timesteps[start])
        x, k, output = (part.repeat_interleave(self.variants, 0) for part in (noised, start, here))
        score = log_ratio = torch.zeros(len(x), device=x.device)
        first_x, first_k, inner, x0 = x, k, k, x
        for _ in range(self.length):
            going = k < step.steps
            mean = step.mean(inner, x, output)
            following = step.step(inner, mean, self.rng)
            if self.kl_weight:
                prior = step.mean_by(self.reference, inner, x)
                new = step.log_prob(inner, mean, following) - step.log_prob(inner, prior, following)
                log_ratio = log_ratio + going * new
            x, k = where(going, following, x), (k + 1).clamp(max=step.steps)
            inner = k.clamp(max=step.steps - 1)
            output = net(x, step.timesteps[inner])
            x0 = where(k < step.steps, step.denoise(inner, x, output), x)
            score = score + (self.reward(x0) - self.kl_weight * log_ratio) / self.length
        targets = step.target(first_k, first_x, x0)
        targets = targets.reshape(len(z), self.variants, *z.shape[1:])
        return Variants(noised, start, here, targets, score.reshape(len(z), -1))


class DiffusionSharpeningDPO(DiffusionSharpening):
    """Prefers the best of the short rollouts to the worst, instead of imitating it (the paper's RLHF form).

    Args:
        problem: See `DiffusionSharpening`.
        rng: Generator on the prior's device.
        beta: Weight of squared errors, relative to the prior's, in the preference's log odds.
        **shared: See `DiffusionSharpening`.

    Raises:
        ValueError: If a setting is out of range, or there is no proxy.
    """

    def __init__(self, problem: Problem, rng: Generator, *, beta: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if beta <= 0:
            raise ValueError(f"expected beta > 0, got {beta=}")
        self.beta = beta

    def loss(self, variants: Variants) -> Tensor:
        """Diffusion-DPO's loss (Wallace et al. 2024, eq. 14) of the best against the worst target."""
        t = self.transition.timesteps[variants.k]
        with torch.no_grad():
            prior = self.reference(variants.x, t)
        output = self.policy(variants.x, t)
        won, lost = (square(prior - target) - square(output - target) for target in (variants.best, variants.worst))
        return -logsigmoid(self.beta / 2 * (won - lost)).mean()


def square(x: Tensor) -> Tensor:
    """Squared norms of `n` tensors, an `n`-dim tensor."""
    return x.flatten(1).square().sum(1)


def where(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The first of `n x ...` tensors where a condition holds, else the second."""
    return torch.where(condition.reshape(-1, *[1] * (first.ndim - 1)), first, second)
