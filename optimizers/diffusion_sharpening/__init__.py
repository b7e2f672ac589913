"""Diffusion-Sharpening: regression on the best of some short continuations of a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from bbo_bench.core import Problem
from bbo_bench.diffusion.finetune import FineTuner, check_counts
from bbo_bench.diffusion.transition import Denoiser


class Variants(NamedTuple):
    """Short trajectories, some from each of `n` states."""

    x: Tensor
    """`n x variants x length x latent_shape`: the states that steps are taken from."""
    k: Tensor
    """`n x length` step numbers."""
    x0: Tensor
    """`n x variants x latent_shape`: x_0 as the policy expects it where they end."""
    score: Tensor
    """`n x variants`: how good they are."""

    def pick(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States, step numbers and ends of one variant of each, by the `n` numbers given."""
        n = torch.arange(len(rows), device=rows.device)
        x, x0 = self.x[n, rows], self.x0[n, rows]
        return x.flatten(0, 1), self.k.flatten(), x0.repeat_interleave(x.shape[1], 0)


class DiffusionSharpening(FineTuner):
    """Fits the policy, on the best of some short rollouts from one state, to where that leads (Tian et al. 2025).

    A rollout's score is the mean over its steps of r(x̂_0) - α log p_θ / p of the steps so far. In the prior tilted by
    exp(r/α) no step changes that on average, where r(x̂_0) is the value of a state up to a constant.

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
        return self.errors(self.policy, *variants.pick(variants.score.argmax(1))).mean()

    def errors(self, denoiser: Denoiser, x: Tensor, k: Tensor, x0: Tensor) -> Tensor:
        """Squared errors of a network for `n x latent_shape` states that should lead to x_0, an `n`-dim tensor."""
        output = denoiser(x, self.transition.timesteps[k])
        return (output - self.transition.target(k, x, x0)).flatten(1).square().sum(1)

    @torch.no_grad()
    def rolled(self, z: Tensor) -> Variants:
        """Variants from `n x latent_shape` latents, noised to steps that leave time for them."""
        step, net = self.transition, self.policy.merged()
        k = torch.randint(step.steps - self.length + 1, (len(z),), generator=self.rng, device=z.device)
        x = step.noise(k, z, self.prior.noise(len(z), self.rng))
        output = net(x, step.timesteps[k])
        x, k, output = (part.repeat_interleave(self.variants, 0) for part in (x, k, output))
        states, steps, score, log_ratio = [], [], 0.0, 0.0
        for _ in range(self.length):
            mean = step.mean(k, x, output)
            following = step.step(k, mean, self.rng)
            if self.kl_weight:
                prior = step.mean_by(self.reference, k, x)
                log_ratio = log_ratio + step.log_prob(k, mean, following) - step.log_prob(k, prior, following)
            states.append(x)
            steps.append(k)
            x, k = following, k + 1
            inner = k.clamp(max=step.steps - 1)
            output = net(x, step.timesteps[inner])
            x0 = torch.where(expand(k == step.steps, x), x, step.denoise(inner, x, output))
            score = score + (self.reward(x0) - self.kl_weight * log_ratio) / self.length
        shape = (len(z), self.variants)
        return Variants(
            torch.stack(states, 1).unflatten(0, shape),
            torch.stack(steps, 1)[:: self.variants],
            x0.unflatten(0, shape),
            torch.as_tensor(score).unflatten(0, shape),
        )


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
        """Diffusion-DPO's loss (Wallace et al. 2024, eq. 14) of best against worst variants, step by step."""
        best, worst = (self.gain(*variants.pick(rows)) for rows in (variants.score.argmax(1), variants.score.argmin(1)))
        return -logsigmoid(self.beta / 2 * (best - worst)).mean()

    def gain(self, x: Tensor, k: Tensor, x0: Tensor) -> Tensor:
        """How much smaller than the prior's the policy's errors are, an `n`-dim tensor."""
        with torch.no_grad():
            prior = self.errors(self.reference, x, k, x0)
        return prior - self.errors(self.policy, x, k, x0)


def expand(mask: Tensor, like: Tensor) -> Tensor:
    """`n` numbers, in as many dimensions as another tensor."""
    return mask.reshape(-1, *[1] * (like.ndim - 1))
