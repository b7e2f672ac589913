"""RWR: reward-weighted regression."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor

from bbo_bench.alignment.matching import Matching
from bbo_bench.core import Problem


class RWR(Matching):
    """Regresses on samples with weights exp(r/τ), self-normalized (Peters and Schaal 2007; Lee et al. 2023).

    A set of samples of π makes the policy π exp(r/τ): one set of the prior, the prior tilted by exp(r/τ). For normal
    rewards λ = α/τ, and many sets come to rest at the prior tilted by exp(r/α), if `prior_share` is 0.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        temperature: τ of the weights, in prior standard deviations of the score.
        **shared: See `Matching`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, temperature: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if temperature <= 0:
            raise ValueError(f"expected temperature > 0, got {temperature=}")
        self.temperature = temperature

    def weights(self, reward: Tensor) -> Tensor:
        """See `Matching.weights`."""
        return (reward / self.temperature).softmax(0)
