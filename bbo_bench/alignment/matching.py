"""What regression methods share: the policy is fitted, by the denoising loss, to samples that rewards have chosen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import FineTuner, check_counts
from bbo_bench.core import Problem


class Matching(FineTuner):
    """Samples, chooses by reward, regresses on the choice, and starts over from the policy that this has made.

    The loss is E[|v_θ(x_t) - v|² + λ |v_θ(x_t) - v_p(x_t)|²] over the latents of the choice, noised to x_t; v is the
    output that leads back to them, v_p the prior's. Where a choice raises the mean of a set's rewards by g, and their
    variance is s², λ = α g / s²: the two terms balance where the policy's rewards exceed the prior's by s²/α, as those
    of the prior tilted by exp(r/α) do, if `prior_share` is 0. With α = 0 the iteration goes on to the highest rewards.
    A KL budget is held by fresh trajectories before every set, as chosen samples are nearer to the prior than others.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        iterations: Sets of samples per round; with oracle rewards every set is all queried designs.
        samples: Fresh samples of the policy per set, and of the prior for `prior_share`.
        updates: Gradient steps per set.
        batch_size: Latents per gradient step.
        prior_share: Share of a batch that are samples of the prior, as they come.
        **shared: See `FineTuner`.

    Raises:
        ValueError: If a setting is out of range.
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
        prior_share: float = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(iterations=iterations, samples=samples, updates=updates, batch_size=batch_size)
        if not 0 <= prior_share < 1:
            raise ValueError(f"expected 0 <= prior_share < 1, got {prior_share=}")
        self.iterations, self.samples, self.updates = iterations, samples, updates
        self.natural = round(prior_share * batch_size)
        self.chosen = batch_size - self.natural
        self._distance = torch.zeros((), device=rng.device)

    @property
    def gradient_steps(self) -> int:
        """See `FineTuner.gradient_steps`."""
        return self.iterations * self.updates

    @abstractmethod
    def weights(self, reward: Tensor) -> Tensor:
        """Weights of `n` samples with these rewards, summing to 1, by which they are drawn to be learnt from.

        With prompts, they are the samples of one of them.
        """

    def chances(self, z: Tensor, reward: Tensor) -> Tensor:
        """The weights of `n x latent_shape` samples, of which every prompt's have the share that it has of them all."""
        if not self.prompted:
            return self.weights(reward)
        prompt, chances = self.prompt(z), torch.zeros_like(reward)
        for number in set(prompt.tolist()):
            own = prompt == number
            chances[own] = self.weights(reward[own]) * own.double().mean()
        return chances

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        natural = self.naturals()
        for _ in range(self.iterations):
            z, reward = self.scored(self.samples)
            weights = self.chances(z, reward)
            reward = self.comparable(reward, z)  # what differs between prompts is no gain of the choice
            if self.dual is not None:
                self._distance = self.path_kl()
            for _ in range(self.updates):
                rows = torch.multinomial(weights, self.chosen, replacement=True, generator=self.rng)
                others = torch.randint(self.samples, (self.natural,), generator=self.rng, device=z.device)
                yield self.loss(torch.cat([z[rows], natural[others]]), self.anchor(weights, reward))

    def anchor(self, weights: Tensor, reward: Tensor) -> Tensor:
        """λ of a set of `n` samples."""
        gain = weights @ reward - reward.mean()
        variance = reward.var(correction=min(1, len(reward) - 1))  # 0 of a single reward
        return self.kl_weight * gain / (variance + 1e-8)

    def loss(self, z: Tensor, anchor: Tensor) -> Tensor:
        """The loss of `n x latent_shape` latents, over the sampler's own timesteps."""
        step = self.transition
        k = torch.randint(step.steps, (len(z),), generator=self.rng, device=z.device)
        x = step.noise(k, z, self.prior.noise(len(z), self.rng))
        output = self.policy(x, step.timesteps[k])
        error = (output - step.target(k, x, z)).flatten(1).square().sum(1)
        if not self.regularized:
            return torch.mean(error)
        with torch.no_grad():
            prior = self.reference(x, step.timesteps[k])
        self.spend(self._distance)
        return torch.mean(error + anchor * (output - prior).flatten(1).square().sum(1))

    @torch.no_grad()
    def naturals(self) -> Tensor:
        """`samples x latent_shape` latents of the prior; none if there is no use for them."""
        if not self.natural:
            return self.prior.noise(0, self.rng)  # not every network takes a batch of none
        *_, z = self.transition.walk(self.reference, self.prior.noise(self.samples, self.rng), self.rng)
        return z
