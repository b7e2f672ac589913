"""DiBO: posterior inference with diffusion models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import check_counts
from bbo_bench.alignment.preference import PathRatios, Paths
from bbo_bench.archive import novel
from bbo_bench.core import Problem, State, UnsuitableError
from bbo_bench.diffusion.likelihood import elbo

SMOOTHING = 0.2
"""Noise per latent by which the prior's density is smoothed where it is climbed."""


class DiBO(PathRatios):
    """Relative trajectory balance, and designs that are searched and sifted from its samples (Yun et al. 2025).

    The policy learns the posterior p(x) exp(r(x)/α)/Z of the prior p and of optimistic rewards r, by the loss
    (log Z + log ρ - r/α)²/2 over its own trajectories, and as many earlier ones of the round drawn in proportion to
    exp(r), with log ρ = Σ_t log p_θ/p and a learnt log Z. Designs are the highest by r + α log p among `candidates`
    times as many samples, which climb it first.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        log_z_rate: Learning rate of log Z, by plain gradient descent; 1 for the mean of every minibatch.
        candidates: Samples of the policy for every design.
        search_steps: Adam's steps uphill from every sample.
        search_rate: Their learning rate, in latents.
        batch: Candidates that are handled at once, which bounds the memory.
        **shared: See `OnPolicy`; as many trajectories are replayed as `samples` says are drawn.

    Raises:
        UnsuitableError: If designs are made for prompts, each of which had a Z of its own.
        ValueError: If a setting is out of range, or there is no proxy or no KL weight.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        log_z_rate: float,
        candidates: int,
        search_steps: int,
        search_rate: float,
        batch: int,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(candidates=candidates, batch=batch)
        if not 0 < log_z_rate <= 1:
            raise ValueError(f"expected 0 < log_z_rate <= 1, got {log_z_rate=}")
        if search_steps < 0 or search_rate <= 0:
            raise ValueError(f"expected search_steps >= 0 and search_rate > 0, got {search_steps=}, {search_rate=}")
        if self.proxy is None:
            raise ValueError("DiBO climbs the proxy: expected one, got proxy=null")
        if self.prompted:
            raise UnsuitableError("DiBO learns one normalizing constant: expected a task without prompts or starts")
        self.candidates, self.batch = candidates, batch
        self.search_steps, self.search_rate = search_steps, search_rate
        self.log_z_rate = log_z_rate
        self._log_z = torch.full((), torch.nan, device=rng.device)

    def learn(self) -> None:
        """Fine-tune; among the numbers is log Z, in nats."""
        super().learn()
        self._numbers |= {"log_z": float(self._log_z / self.kl_weight)}

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        kept = None
        for rollout in self.rollouts(self.iterations, self.samples):
            fresh = self.experience(rollout)
            kept = fresh if kept is None else joined(kept, fresh)
            rows = torch.multinomial(kept.reward.softmax(0), self.samples, replacement=True, generator=self.rng)
            yield from self.passes(joined(fresh, Paths(*(part[rows] for part in kept))))

    def loss(self, paths: Paths) -> Tensor:
        """Relative trajectory balance in nats, a scalar (Venkatraman et al. 2024).

        log Z, as α log Z in rewards, takes a step down the same loss: towards the mean of what is left to it.
        """
        ratio = self.log_ratio(paths).sum(1)
        left = (paths.reward - self.kl_weight * ratio.detach()).mean()
        self._log_z = torch.where(self._log_z.isnan(), left, torch.lerp(self._log_z, left, self.log_z_rate))
        return (ratio + (self._log_z - paths.reward) / self.kl_weight).square().mean() / 2

    def spend(self, kl: Tensor) -> None:
        """See `FineTuner.spend`: what counts is the fresh half."""
        super().spend(kl[: len(kl) // 2])

    def shuffled(self, n: int, device: torch.device) -> Sequence[Tensor]:
        """See `OnPolicy.shuffled`; half of every minibatch is fresh, and comes first."""
        fresh, replayed = (super(DiBO, self).shuffled(n // 2, device) for _ in range(2))
        return [torch.cat([first, n // 2 + second]) for first, second in zip(fresh, replayed, strict=True)]

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"log_z": self._log_z}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        self._log_z = state["log_z"].to(self.rng.device)

    def ask(self, n: int) -> Tensor:
        """The best candidates, those that have been queried last."""
        return self.best(n, self.x)

    def recommend(self, n: int) -> Tensor:
        """The best candidates."""
        return self.best(n, self.x[:0])

    def best(self, n: int, known: Tensor) -> Tensor:
        """The best `n` designs among candidates; those that are `known`, and repetitions, come last."""
        most = n * self.candidates
        parts = [self.climbed(self.sample(min(self.batch, most - i))) for i in range(0, most, self.batch)]
        value = torch.cat([self.value(part) for part in parts])
        x = self.prior.decode(torch.cat(parts)[value.argsort(descending=True, stable=True)])
        return x[novel_first(x, known)[:n]]

    @torch.no_grad()
    def value(self, z: Tensor) -> Tensor:
        """R + α log p of `n x latent_shape` latents, an `n`-dim tensor: log p as the prior's ELBO."""
        bounds = [elbo(self.reference, self.prior.transition, z, sign) for sign in (1, -1)]
        return self.reward(z) + self.kl_weight * torch.stack(bounds).mean(0)

    def climbed(self, z: Tensor) -> Tensor:
        """`n x latent_shape` latents after some steps up r + α log p."""
        z = z.clone()
        adam = torch.optim.Adam([z], lr=self.search_rate)
        for _ in range(self.search_steps):
            [slope] = torch.autograd.grad(self.reward(z.requires_grad_()).sum(), z)
            z.grad = -slope - self.kl_weight * self.log_prior_slope(z.detach())
            adam.step()
        return z.detach()

    @torch.no_grad()
    def log_prior_slope(self, z: Tensor) -> Tensor:
        """Slope of the prior's log density, smoothed by `SMOOTHING`, at `n x latent_shape` latents, of their shape.

        The score of x_t at √ā z, by Tweedie's formula: ā/(1 - ā) (E[x_0 | x_t] - z).
        """
        step = self.transition
        k = (1 - step.alpha_bar - SMOOTHING**2).abs().argmin()
        x = step.noise(k, z, torch.zeros_like(z))
        x0 = step.denoise(k, x, self.reference(x, step.timesteps[k]))
        return step.alpha_bar[k] / (1 - step.alpha_bar[k]) * (x0 - z)


def joined(first: Paths, second: Paths) -> Paths:
    """The trajectories of both."""
    return Paths(*(torch.cat(parts) for parts in zip(first, second, strict=True)))


def novel_first(x: Tensor, known: Tensor) -> Tensor:
    """Row numbers of `n x shape` designs, in their order, those that are known or have come before last."""
    return (~novel(x, known)).to(torch.uint8).argsort(stable=True)
