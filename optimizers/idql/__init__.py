"""IDQL: of many samples of the prior that start alike, a critic chooses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import check_counts
from bbo_bench.alignment.inpainting import inpaint
from bbo_bench.alignment.steering import Steered
from bbo_bench.core import Problem, UnsuitableError

CHOICES = ("greedy", "softmax", "expectation")


class IDQL(Steered):
    """Plans from starts that the prior draws; the rest, painted in N times, a critic chooses from, no training.

    The chosen plan is the one of the highest value; or one drawn by exp(value / temperature), as in IDQL
    (Hansen-Estruch et al. 2023, algorithm 2); or all of them averaged with these weights, the expected action.

    Args:
        problem: Of a control task, with a `DiffusionPrior`.
        rng: Generator on the prior's device.
        candidates: Number N of plans for every start.
        choice: `greedy`, `softmax` or `expectation`.
        temperature: In prior standard deviations of the score.
        resamples: See `inpaint`.
        **shared: See `Steered`.

    Raises:
        ValueError: If a setting is out of range.
        UnsuitableError: If the task says of no part of a design that it is given.
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
        self.given = problem.offline.given
        self.per_design, self.choice, self.temperature = candidates, choice, temperature
        self.resamples = resamples

    @torch.no_grad()
    def draw(self, n: int) -> Tensor:
        """See `Steered.draw`."""
        starts = self.prior.sample(n, self.rng).repeat_interleave(self.per_design, 0)
        z = inpaint(self.prior, starts, self.given, self.rng, resamples=self.resamples)
        return self.chosen(z.reshape(n, -1, *z.shape[1:]), self.reward(z).reshape(n, -1))

    def chosen(self, z: Tensor, value: Tensor) -> Tensor:
        """`n x latent_shape` of `n x N x latent_shape` candidates with these values, `n x N`."""
        share = (value / self.temperature).softmax(1)
        if self.choice == "expectation":
            return torch.einsum("ij,ij...->i...", share, z)
        index = value.argmax(1) if self.choice == "greedy" else torch.multinomial(share, 1, generator=self.rng)[:, 0]
        return z[torch.arange(len(z), device=z.device), index]
