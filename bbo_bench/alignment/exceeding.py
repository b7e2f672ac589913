"""What methods share that look for designs above a threshold, which rises from round to round."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import FineTuner
from bbo_bench.core import Problem, State, UnsuitableError
from bbo_bench.surrogate.ensemble import Ensemble


class Exceeding(FineTuner):
    """Its rewards are log-probabilities, in nats, that designs score above a threshold.

    The threshold is the quantile p_t of all scores, and never falls; p_t = p^(η^t) in round t, from p in the first.
    The probability is a normal law's, of the proxy's mean, its spread and its held-out error.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        quantile: p of the first round.
        anneal: η; 1 for one p in all rounds.
        **shared: See `FineTuner`.

    Raises:
        UnsuitableError: If designs are made for prompts, whose scores have no common threshold.
        ValueError: If quantile or anneal is out of range, or the proxy is none that tells how sure it is.
    """

    def __init__(self, problem: Problem, rng: Generator, *, quantile: float, anneal: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if not 0 < quantile < 1 or not 0 < anneal <= 1:
            raise ValueError(f"expected 0 < quantile < 1 and 0 < anneal <= 1, got {quantile=}, {anneal=}")
        if not isinstance(self.proxy, Ensemble):
            raise ValueError(f"{type(self).__name__} needs an Ensemble as proxy, got {type(self.proxy).__name__}")
        if self.proxy.heads < 2:
            raise ValueError(
                f"expected at least two heads, whose spread says how sure they are, got {self.proxy.heads}"
            )
        if self.prompted:
            raise UnsuitableError(
                f"{type(self).__name__} looks for designs above one threshold: "
                "expected a task without prompts or starts"
            )
        self.quantile, self.anneal = quantile, anneal
        self.threshold = -math.inf

    def learn(self) -> None:
        """Raise the threshold, then fine-tune."""
        share = self.quantile ** (self.anneal**self.round)
        self.threshold = max(self.threshold, float(self.y.quantile(share)))
        super().learn()
        self._numbers |= {"threshold": self.threshold}

    def reward(self, z: Tensor) -> Tensor:
        """Log-probabilities that `n x latent_shape` latents exceed the threshold, an `n`-dim tensor, differentiable."""
        assert isinstance(self.proxy, Ensemble)
        mean, std = self.proxy.law(self.transition.held(z, z.detach()))
        log_probability: Tensor = torch.special.log_ndtr((mean - self.threshold) / std)
        return log_probability.float() + self.bonus(z)

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"threshold": self.threshold}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        self.threshold = state["threshold"]
