"""Diffusion-Sharpening: regression on the best of some short continuations of a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from bbo_bench.alignment.finetune import FineTuner, check_counts
from bbo_bench.core import Problem


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

    The target is the policy's own output, moved by what the best rollout's end has above the mean of all; a rollout's
    score is the mean of r(x̂_0) over its steps. With the score's standard deviation S and highest excess g among the
    rollouts of a state, and the share f of its uncertainty that they settle on average, the loss is

        S |v_θ - target|² + α f g/S |v_θ - v_p|²

    in terms of outputs, v_p being the prior's. It is balanced in the prior tilted by exp(r/α): a best rollout is off by
    g/S² times the covariance with the score, which is f of what it would be for rollouts to the end.

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
        alpha_bar = self.transition.alpha_bar
        ahead = torch.cat([alpha_bar, alpha_bar.new_ones(length)]).unfold(0, length + 1, 1)
        self.settled = (ahead[:, 1:].mean(1) - ahead[:, 0]) / (1 - ahead[:, 0])

    @property
    def gradient_steps(self) -> int:
        """See `FineTuner.gradient_steps`."""
        return self.iterations * self.updates

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        for _ in range(self.iterations):
            z = self.sample(self.samples)
            for _ in range(self.updates):
                rows = torch.randint(len(z), (self.batch_size,), generator=self.rng, device=z.device)
                yield self.loss(self.rolled(z[rows]))

    def loss(self, variants: Variants) -> Tensor:
        """The loss of some states."""
        t, score = self.transition.timesteps[variants.k], variants.score
        output = self.policy(variants.x, t)
        spread, gain = score.std(1), score.amax(1) - score.mean(1)
        loss = spread * square(output - (variants.output + variants.best - variants.targets.mean(1)))
        if self.regularized:
            with torch.no_grad():
                prior = self.reference(variants.x, t)
            anchor = self.kl_weight * self.settled[variants.k] * gain / (spread + 1e-8)
            self.spend(self.transition.steps * self.transition.output_kl(variants.k, output, prior))
            loss = loss + anchor * square(output - prior)
        return torch.mean(loss)

    def cost(self, k: Tensor, x: Tensor, mean: Tensor, following: Tensor) -> Tensor:
        """What `n` steps take from a rollout's score: nothing."""
        return torch.zeros(len(x), device=x.device)

    @torch.no_grad()
    def rolled(self, z: Tensor) -> Variants:
        """Variants from `n x latent_shape` latents, noised to any step; those that come to x_0 stay there."""
        step, net = self.transition, self.policy.merged()
        start = torch.randint(step.steps, (len(z),), generator=self.rng, device=z.device)
        noised = step.noise(start, z, self.prior.noise(len(z), self.rng))
        here = net(noised, step.timesteps[start])
        x, k, output = (part.repeat_interleave(self.variants, 0) for part in (noised, start, here))
        score = cost = torch.zeros(len(x), device=x.device)
        first_x, first_k, inner, x0 = x, k, k, x
        for _ in range(self.length):
            going = k < step.steps
            mean = step.mean(inner, x, output)
            following = step.step(inner, mean, self.rng)
            cost = cost + going * self.cost(inner, x, mean, following)
            x, k = where(going, following, x), (k + 1).clamp(max=step.steps)
            inner = k.clamp(max=step.steps - 1)
            output = net(x, step.timesteps[inner])
            x0 = where(k < step.steps, step.denoise(inner, x, output), x)
            score = score + (self.reward(x0) - cost) / self.length
        targets = step.target(first_k, first_x, x0)
        targets = targets.reshape(len(z), self.variants, *z.shape[1:])
        return Variants(noised, start, here, targets, score.reshape(len(z), -1))


class DiffusionSharpeningDPO(DiffusionSharpening):
    """Prefers the best of the short rollouts to the worst, instead of imitating it (the paper's RLHF form).

    A rollout's score is less by α log p_θ / p of its steps so far. In the prior tilted by exp(r/α) no step changes the
    score on average, where r(x̂_0) is the value of a state up to a constant: no rollout is better, but by chance.

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
        self.spend(self.transition.steps * self.transition.output_kl(variants.k, output, prior))
        won, lost = (square(prior - target) - square(output - target) for target in (variants.best, variants.worst))
        return -logsigmoid(self.beta / 2 * (won - lost)).mean()

    @torch.no_grad()
    def cost(self, k: Tensor, x: Tensor, mean: Tensor, following: Tensor) -> Tensor:
        """What `n` steps take from a rollout's score: α times the log-ratio to the prior."""
        if not self.regularized:
            return super().cost(k, x, mean, following)
        step = self.transition
        prior = step.mean_by(self.reference, k, x)
        return self.kl_weight * (step.log_prob(k, mean, following) - step.log_prob(k, prior, following))


def square(x: Tensor) -> Tensor:
    """Squared norms of `n` tensors, an `n`-dim tensor."""
    return x.flatten(1).square().sum(1)


def where(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The first of `n x ...` tensors where a condition holds, else the second."""
    return torch.where(condition.reshape(-1, *[1] * (first.ndim - 1)), first, second)
