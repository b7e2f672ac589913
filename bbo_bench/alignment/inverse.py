"""What methods share that model designs given their score, in the place of the score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bbo_bench.alignment.conditioned import Conditioned
from bbo_bench.alignment.finetune import FineTuner, check_counts
from bbo_bench.alignment.policy import Policy
from bbo_bench.core import Problem, UnsuitableError
from bbo_bench.diffusion.transition import Denoiser
from bbo_bench.scale import Scale
from bbo_bench.seeding import seeded

BINS = 20
"""Intervals of scores of one width, whose designs have one weight."""
RARE = 1e-3
"""K: share of the designs below which an interval counts less for being rare."""
MOST = 5.0
"""Highest weight."""


class Inverse(FineTuner):
    """Learns p(x | y) from what was queried, and samples from it at a target score.

    The model is the prior and a correction that is told the score, all weights trained anew in every round by the
    denoising loss, in which designs with high scores count more; see `importances`. The sampler goes
    `1 + guidance` times as far from the prior as the model does. Scores are standardized by mean and standard
    deviation of all.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        guidance: γ of classifier-free guidance.
        updates: Gradient steps per round.
        batch_size: Designs per gradient step.
        width: Of the perceptron that reads the score.
        **settings: See `FineTuner`; neither a proxy nor a KL weight has a meaning here.

    Raises:
        UnsuitableError: If designs are made for prompts, whose scores have no common best.
        ValueError: If a setting is out of range, or there is a proxy or a KL weight.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        guidance: float,
        updates: int,
        batch_size: int,
        width: int,
        **settings: Any,
    ) -> None:
        self.width = width
        super().__init__(problem, rng, **settings)
        check_counts(updates=updates, batch_size=batch_size, width=width)
        if guidance < 0:
            raise ValueError(f"expected guidance >= 0, got {guidance=}")
        name = type(self).__name__
        if self.proxy is not None or self.regularized or self.training.lora_rank is not None:
            raise ValueError(
                f"{name} trains all weights on what was queried: set proxy=null, kl_weight=0, lora_rank=null"
            )
        if self.prompted:
            raise UnsuitableError(f"{name} samples at one score: expected a task without prompts or starts")
        self.guidance, self.updates, self.batch_size = guidance, updates, batch_size

    @abstractmethod
    def target(self) -> Tensor:
        """The standardized score that designs are sampled at, a scalar."""

    def conditioned(self) -> Conditioned:
        """The prior, with a correction that is zero as yet."""
        return Conditioned(self.reference, self.prior.latent_shape.numel(), 1, self.width)

    def untrained(self) -> Policy:
        """See `FineTuner.untrained`."""
        with seeded(self.rng):
            network = self.conditioned()
        return Policy(network.to(self.rng.device), None, self.rng)

    @property
    def gradient_steps(self) -> int:
        """See `FineTuner.gradient_steps`."""
        return self.updates

    def learn(self) -> None:
        """Train a new model."""
        self.policy = self.untrained()
        super().learn()

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        z, told = self.prior.encode(self.x), self.told()
        weight = importances(told)
        for _ in range(self.updates):
            yield self.loss(self.policy.network, z, told, weight)

    def loss(self, network: nn.Module, z: Tensor, told: Tensor, weight: Tensor) -> Tensor:
        """Denoising loss of a network for some of `n x latent_shape` latents with `n` scores and weights, a scalar."""
        rows = torch.randint(len(z), (self.batch_size,), generator=self.rng, device=z.device)
        k = torch.randint(self.transition.steps, (self.batch_size,), generator=self.rng, device=z.device)
        network.condition = told[rows, None]
        noise = self.prior.noise(self.batch_size, self.rng)
        return (weight[rows] * self.denoising_error(network, z[rows], k, noise)).mean()

    def told(self) -> Tensor:
        """All scores, standardized, in single precision."""
        return Scale.of(self.y)(self.y).float()

    def network(self) -> Denoiser:
        """The model at the target score, guided."""
        target = self.target() if len(self.y) else torch.zeros((), device=self.rng.device)
        return self.guided(self.policy.merged(), target)

    def guided(self, network: nn.Module, target: Tensor) -> Denoiser:
        """A network at a target score, a scalar or `n`, which goes further from the prior by the guidance."""

        def denoiser(x: Tensor, timestep: Tensor) -> Tensor:
            network.condition = target.reshape(-1, 1).expand(len(x), 1)
            told: Tensor = network(x, timestep)
            further: Tensor = told - self.reference(x, timestep)
            return told + self.guidance * further

        return denoiser


def importances(y: Tensor) -> Tensor:
    """Weights of designs with these `n` scores.

    Of their interval, one of `BINS`, which has the share h of the designs, the weight is q/h, at most `MOST`, where q
    is in proportion to h/(h + K) exp(y'/τ); y' is the interval's upper end, and τ what the best score is above the
    ninth decile. (Kumar and Levine 2020, as the authors of DDOM have it.)
    """
    low, high = y.min(), y.max()
    width = (high - low).clamp(min=1e-12) / BINS
    interval = ((y - low) / width).long().clamp(max=BINS - 1)
    share = torch.bincount(interval, minlength=BINS).to(y) / len(y)
    end = low + width * torch.arange(1, BINS + 1, device=y.device)
    temperature = (high - y.quantile(0.9)).clamp(min=1e-3)
    wanted = ((end - end[-1]) / temperature).exp() * share / (share + RARE)
    wanted = wanted / wanted.sum()
    return (wanted / share.clamp(min=1e-7)).clamp(max=MOST)[interval]
