"""IDQL: of many samples of the prior that start alike, a critic chooses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import check_counts
from bbo_bench.alignment.inpainting import inpaint
from bbo_bench.alignment.steering import Steered
from bbo_bench.core import Problem, UnsuitableError
from bbo_bench.surrogate.critic import IQL

CHOICES = ("expectile", "greedy", "softmax", "expectation")


class IDQL(Steered):
    """Plans from starts that the prior draws; the rest, painted in N times, a critic chooses from, no training.

    The chosen plan is the one of the highest value; or one drawn by exp(value / temperature), the weights of an
    exponential critic (Hansen-Estruch et al. 2023); or all of them averaged with these weights, the expected action; or
    one drawn as their algorithm 2 does with the expectile critic that learns here, by weights |τ - 1(A < 0)| of
    advantages A.

    Args:
        problem: Of a control task, with a `DiffusionPrior`.
        rng: Generator on the prior's device.
        candidates: Number N of plans for every start.
        choice: `greedy`, `softmax`, `expectation` or `expectile`.
        temperature: In prior standard deviations of the score.
        resamples: See `inpaint`.
        **shared: See `Steered`.

    Raises:
        ValueError: If a setting is out of range.
        UnsuitableError: If the task says of no part of a design that it is given, or the weights are those of an
            expectile critic and the proxy is none.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        candidates: int,
        choice: str,
        temperature: float,
        resamples: int,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(candidates=candidates, resamples=resamples)
        if choice not in CHOICES:
            raise ValueError(f"expected choice to be one of {', '.join(CHOICES)}, got {choice=}")
        if temperature <= 0:
            raise ValueError(f"expected temperature > 0, got {temperature=}")
        if problem.offline is None:
            raise UnsuitableError(
                "starts are given by a control task: expected a task such as nav1d, whose plans have one"
            )
        if choice == "expectile" and not isinstance(self.proxy, IQL):
            raise UnsuitableError("the weights of an expectile critic need one: set proxy to an IQL")
        held = self.prior.codec.given
        self.given = problem.offline.given if held is None else held
        self.per_design, self.choice, self.temperature = candidates, choice, temperature
        self.resamples = resamples

    @torch.no_grad()
    def draw(self, n: int) -> Tensor:
        """See `Steered.draw`."""
        starts = self.prior.sample(n, self.rng).repeat_interleave(self.per_design, 0)
        z = inpaint(self.prior, starts, self.given, self.rng, resamples=self.resamples)
        return self.chosen(z.reshape(n, -1, *z.shape[1:]), self.ranked(z).reshape(n, -1))

    def ranked(self, z: Tensor) -> Tensor:
        """Rewards of `n x latent_shape` latents; for the weights of an expectile critic their advantages."""
        if self.choice == "expectile":
            assert isinstance(self.proxy, IQL)
            return self.proxy.advantage(z)
        return self.reward(z)

    def chosen(self, z: Tensor, value: Tensor) -> Tensor:
        """`n x latent_shape` of `n x N x latent_shape` candidates with these values, `n x N`."""
        if self.choice == "greedy":
            index = value.argmax(1)
        else:
            share = self.shares(value)
            if self.choice == "expectation":
                return torch.einsum("ij,ij...->i...", share, z)
            index = torch.multinomial(share, 1, generator=self.rng)[:, 0]
        return z[torch.arange(len(z), device=z.device), index]

    def shares(self, value: Tensor) -> Tensor:
        """Weights of candidates with `n x N` values, or advantages, that sum to 1 over each start's."""
        if self.choice == "expectile":
            assert isinstance(self.proxy, IQL)
            weight = torch.where(value < 0, 1 - self.proxy.expectile, self.proxy.expectile)
            return weight / weight.sum(1, keepdim=True)
        return (value / self.temperature).softmax(1)
