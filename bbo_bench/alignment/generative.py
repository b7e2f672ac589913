"""What fine-tuners and guided samplers share: a diffusion prior, the data, a proxy of the score, rewards."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.groups import deviations
from bbo_bench.core import Optimizer, Problem, State, UnsuitableError
from bbo_bench.device import precise
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.domains import Captioned
from bbo_bench.scale import Scale
from bbo_bench.surrogate.critic import IQL
from bbo_bench.surrogate.ensemble import Ensemble


class Generative(Optimizer):
    """Steers a diffusion prior towards the rewards of a proxy, or of the oracle itself.

    Rewards are scores standardized by mean and standard deviation of the first round, which the prior has proposed, so
    that weights of rewards mean the same on every task. Where designs are made for prompts, by those of their prompt.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        proxy: Makes the model of the score, or the critic of a control task; None for rewards from the oracle alone.
        diversity: Weight of the diversity within a batch, added to every reward: the mean distance of a latent to the
            others of its batch, in root mean squares per dimension.

    Raises:
        UnsuitableError: If the problem's prior is no `DiffusionPrior`.
        ValueError: If `diversity` is negative.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, proxy: Callable[[], Ensemble | IQL] | None, diversity: float = 0.0
    ) -> None:
        super().__init__(problem, rng)
        if not isinstance(problem.prior, DiffusionPrior):
            raise UnsuitableError(f"{type(self).__name__} steers a DiffusionPrior, got {type(problem.prior).__name__}")
        if diversity < 0:
            raise ValueError(f"diversity must be at least 0, got {diversity}")
        self.prior = problem.prior
        self.transition = self.prior.transition
        self.reference = self.prior.denoiser
        self.proxy = proxy() if proxy is not None else None
        if isinstance(self.proxy, IQL):
            self.proxy.bind(problem)
        self.diversity = diversity
        self.x = problem.domain.sample(0, rng)
        self.y = torch.empty(0, device=rng.device, dtype=precise(rng.device))

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
        self.learn()

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

        What a method compares designs by, it compares within a prompt, or it would learn which prompts are easy.
        """
        return self.prior.codec.prompt(z)

    @property
    def prompted(self) -> bool:
        """Whether there are several prompts."""
        return self.prior.codec.prompts > 1

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
        return sum(queries < len(self.y) for queries in accumulate(self.problem.budget))

    @property
    def progress(self) -> float:
        """How far the run has come, from 0 in the first round to 1 in the last."""
        return self.round / max(len(self.problem.budget) - 1, 1)

    def standardized(self, y: Tensor, z: Tensor) -> Tensor:
        """Scores in standard deviations of the first round above its mean, in single precision.

        Where the first round is a single query, it is the first two that count.

        Args:
            y: `n` scores.
            z: `n x latent_shape`: of what.
        """
        first = max(self.problem.budget[0], 2)
        if not self.prompted:
            return Scale.of(self.y[:first])(y).float()
        domain = self.problem.domain
        assert isinstance(domain, Captioned)
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
        return {"x": self.x, "y": self.y, "proxy": None if self.proxy is None else self.proxy.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        self.x, self.y = state["x"].to(self.rng.device), state["y"].to(self.rng.device)
        if self.proxy is not None:
            self.proxy.load_state_dict(state["proxy"], self.rng.device)

    def diagnostics(self) -> dict[str, float]:
        """The proxy's held-out error."""
        return {} if self.proxy is None else {"proxy_error": self.proxy.error}
