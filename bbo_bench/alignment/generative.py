"""What fine-tuners and guided samplers share: a diffusion prior, the data, a proxy of the score, rewards."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.groups import deviations
from bbo_bench.core import Optimizer, Problem, State, Transitions, UnsuitableError
from bbo_bench.device import precise
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.domains import Captioned
from bbo_bench.scale import Scale
from bbo_bench.surrogate.critic import IQL
from bbo_bench.surrogate.ensemble import Ensemble

TYPICAL = 256
"""Samples of the prior by whose values rewards are standardized where nothing is queried."""


class Generative(Optimizer):
    """Steers a diffusion prior towards the rewards of a proxy, or of the oracle itself.

    Rewards are scores standardized by mean and standard deviation of the first round, which the prior has proposed, so
    that weights of rewards mean the same on every task. Where designs are made for prompts, by those of their prompt;
    where nothing is queried, by those that the critic gives to as many samples of the prior.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        proxy: Makes the model of the score, or the critic of a control task; None for rewards from the oracle alone.
        diversity: Weight of the diversity within a batch, added to every reward: the mean distance of a latent to the
            others of its batch, in root mean squares per dimension.

    Raises:
        UnsuitableError: If the problem's prior is no `DiffusionPrior`, or nothing is queried and there is no critic.
        ValueError: If `diversity` is negative.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, proxy: Callable[[], Ensemble | IQL] | None, diversity: float = 0.0
    ) -> None:
        self.proxy = proxy() if proxy is not None else None
        self.needs_scores = not isinstance(self.proxy, IQL)
        super().__init__(problem, rng)
        if not isinstance(problem.prior, DiffusionPrior):
            raise UnsuitableError(f"{type(self).__name__} steers a DiffusionPrior, got {type(problem.prior).__name__}")
        if diversity < 0:
            raise ValueError(f"diversity must be at least 0, got {diversity}")
        self.prior = problem.prior
        self.transition = self.prior.transition
        self.reference = self.prior.denoiser
        if isinstance(self.proxy, IQL):
            self.proxy.bind(problem)
        self.diversity = diversity
        self.x = problem.domain.sample(0, rng)
        self.y = torch.empty(0, device=rng.device, dtype=precise(rng.device))
        self._typical: Tensor | None = None
        self._told = 0

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """`n x latent_shape` latents of the designs that this method makes now."""

    def learn(self) -> None:
        """Learn from the data, after the proxy has been fitted to them; nothing by default."""

    def ask(self, n: int) -> Tensor:
        """Fresh samples."""
        return self.prior.decode(self.sample(n))

    def recommend(self, n: int) -> Tensor:
        """Fresh samples."""
        return self.prior.decode(self.sample(n))

    def tell(self, x: Tensor, y: Tensor) -> None:
        """Refit the proxy to all data, then learn."""
        self.x, self.y = torch.cat([self.x, x]), torch.cat([self.y, y])
        if self.proxy is not None:
            self.proxy.fit(self.prior.encode(self.x), self.y, self.rng)
            if self._typical is None and not any(self.problem.budget):
                self._typical = self.proxy.predict(self.prior.sample(TYPICAL, self.rng)).detach()
        self._told += 1
        with self.prior.codec.comparing():
            self.learn()

    def observe(self, transitions: Transitions) -> None:
        """See `Optimizer.observe`: a critic learns from them."""
        if isinstance(self.proxy, IQL):
            self.proxy.extend(transitions)

    def follow(self, other: Generative) -> None:
        """Take up what another one on the same problem has been told."""
        self.x, self.y, self._typical, self._told = other.x, other.y, other._typical, other._told

    def predict(self, x: Tensor) -> Tensor | None:
        """The proxy's mean prediction, without optimism."""
        return None if self.proxy is None else self.proxy.predict(self.prior.encode(x)).detach()

    def reward(self, z: Tensor) -> Tensor:
        """Rewards of `n x latent_shape` latents by the optimistic proxy, an `n`-dim tensor, differentiable.

        Raises:
            ValueError: If there is no proxy.
        """
        if self.proxy is None:
            raise ValueError(f"{type(self).__name__} needs a proxy for this, but was made with proxy=null")
        z = self.transition.held(z, z.detach())  # what is given is none of a design's doing
        return self.standardized(self.proxy(z), z) + self.bonus(z)

    def prompt(self, z: Tensor) -> Tensor:
        """Numbers of the prompts of `n x latent_shape` latents, an `n`-dim tensor; all alike where there are none.

        What a method compares designs by, it compares within a prompt, or it would learn which prompts are easy. What
        a plan starts from is like a prompt.
        """
        return self.prior.codec.prompt(z)

    @property
    def prompted(self) -> bool:
        """Whether there are several prompts, or starts."""
        return self.prior.codec.grouped

    def comparable(self, reward: Tensor, z: Tensor) -> Tensor:
        """`n` rewards less the mean of those of the others of their prompt; as they are where there are no prompts."""
        return deviations(reward[:, None], self.prompt(z))[0][:, 0] if self.prompted else reward

    def check_stochastic(self) -> None:
        """Raise `UnsuitableError` unless every step of the sampler draws noise."""
        if not (self.transition.std > 0).all():
            raise UnsuitableError(
                f"{type(self).__name__} needs a stochastic sampler: set eta > 0 and min_std > 0 in the prior"
            )

    @property
    def round(self) -> int:
        """Number of the round whose scores were told last."""
        if self._typical is not None:
            return max(self._told - 1, 0)
        return sum(queries < len(self.y) for queries in accumulate(self.problem.budget))

    @property
    def progress(self) -> float:
        """How far the run has come, from 0 in the first round to 1 in the last."""
        return self.round / max(len(self.problem.budget) - 1, 1)

    def proposed(self) -> Tensor:
        """Latents that the prior has proposed: those of the first round; samples of it where nothing is queried."""
        if self._typical is None:
            return self.prior.encode(self.x[: self.problem.budget[0]])
        return self.prior.sample(TYPICAL, self.rng)

    def standardized(self, y: Tensor, z: Tensor) -> Tensor:
        """Scores in standard deviations of the first round above its mean, in single precision.

        Where the first round is a single query, it is the first two that count.

        Args:
            y: `n` scores.
            z: `n x latent_shape`: of what.
        """
        first, domain = max(self.problem.budget[0], 2), self.problem.domain
        if not isinstance(domain, Captioned) or self.prior.codec.prompts < 2:
            return Scale.of(self.y[:first] if self._typical is None else self._typical)(y).float()
        scale = Scale.within(self.y[:first], domain.prompt(self.x[:first]), self.prior.codec.prompts)
        return scale.of_group(self.prompt(z))(y).float()

    def bonus(self, z: Tensor) -> Tensor:
        """The reward of `n x latent_shape` latents for being unlike the others of their prompt, `n`; differentiable."""
        if not self.diversity or len(z) < 2:
            return z.new_zeros(len(z))
        flat = z.flatten(1) / math.sqrt(self.prior.size)
        distance = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
        if self.prompted:
            prompt = self.prompt(z)
            same = (prompt[:, None] == prompt).to(distance)
            return self.diversity * (distance * same).sum(1) / (same.sum(1) - 1).clamp(min=1)
        return self.diversity * distance.sum(1) / (len(z) - 1)

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        told = {} if self._typical is None else {"typical": self._typical, "told": self._told}
        return {"x": self.x, "y": self.y, "proxy": None if self.proxy is None else self.proxy.state_dict()} | told

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        self.x, self.y = state["x"].to(self.rng.device), state["y"].to(self.rng.device)
        if self.proxy is not None:
            self.proxy.load_state_dict(state["proxy"], self.rng.device)
        if "typical" in state:
            self._typical, self._told = state["typical"].to(self.rng.device), state["told"]

    def diagnostics(self) -> dict[str, float]:
        """The proxy's held-out error."""
        return {} if self.proxy is None else {"proxy_error": self.proxy.error}
