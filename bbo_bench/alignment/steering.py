"""What inference-time methods share: they steer the frozen prior's sampler by the proxy, and train nothing."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.dual import LEAST, MOST
from bbo_bench.alignment.generative import Generative
from bbo_bench.core import Problem, State

PROBED = 64
"""Designs in an estimate of the KL divergence to the prior."""
HALVINGS = 10
"""How often the range of log α is halved: to 1.4%."""


class Outlook(NamedTuple):
    """What `n` latents are expected to become."""

    x0: Tensor
    """`n x latent_shape`: the frozen prior's posterior mean of x_0."""
    value: Tensor
    """`n` rewards of it."""
    gradient: Tensor
    """`n x latent_shape`: of the value, by the latents; zero where it was not asked for."""


class Steered(Generative):
    """Samples the frozen prior with a say of the proxy at every step, or at the end. `tell` refits the proxy alone.

    A latent's value is the reward of its posterior mean of x_0: v(x_t) = r(x̂_0(x_t)), and r(x_0) at the end.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        batch: Latents that are handled at once, which bounds the memory.
        **shared: See `Generative`.

    Raises:
        ValueError: If there is no proxy, or `batch` is below 1.
    """

    per_design: int = 1
    """Latents that are handled for every design."""

    def __init__(self, problem: Problem, rng: Generator, *, batch: int, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if self.proxy is None:
            raise ValueError(f"expected a proxy, which {type(self).__name__} is steered by, got proxy=null")
        if batch < 1:
            raise ValueError(f"expected batch >= 1, got {batch=}")
        self.batch = batch

    @abstractmethod
    def draw(self, n: int) -> Tensor:
        """`n x latent_shape` latents of designs, made in one batch."""

    def sample(self, n: int) -> Tensor:
        """Fresh designs, as many at once as `batch` allows."""
        most = max(self.batch // self.per_design, 1)
        turns = self.prior.codec.turns
        most = most // turns * turns or most  # so that a batch has as many designs for every prompt
        return torch.cat([self.draw(min(most, n - made)) for made in range(0, n, most)])

    def look(self, k: int, x: Tensor, *, gradient: bool = False) -> Outlook:
        """Outlook of `n x latent_shape` x_t, by one pass of the network; step `k` starts from x_t, x_0 is `k` = T."""
        with torch.set_grad_enabled(gradient):
            x = x.detach().requires_grad_(gradient)
            x0 = x if k == self.transition.steps else self.posterior_mean(k, x)
            value = self.reward(x0)
            slope = self.transition.held(torch.autograd.grad(value.sum(), x)[0]) if gradient else torch.zeros_like(x)
        return Outlook(x0.detach(), value.detach(), slope)

    def posterior_mean(self, k: int, x: Tensor) -> Tensor:
        """E[x_0 | x_t] by the frozen prior, `n x latent_shape`."""
        return self.transition.denoise(k, x, self.reference(x, self.transition.timesteps[k]))

    def mean(self, k: int, x: Tensor, x0: Tensor) -> Tensor:
        """Mean of x_{t-1} given x_t, where the posterior mean of x_0 is `n x latent_shape` `x0`."""
        return self.transition.mean(k, x, self.transition.target(k, x, x0))


class Tilted(Steered):
    """Steered towards the prior tilted by exp(r/α): α is given, or found in every round for a budget of KL.

    Under a budget κ the range of α is halved, `PROBED` designs at a time, until they are κ nats from the prior. A
    method says in `draw` what it has spent.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        kl_weight: Weight α of the KL divergence to the prior; None with `kl_budget`.
        kl_budget: Nats κ that designs may be from the prior's, on a stochastic sampler; None with `kl_weight`.
        **shared: See `Steered`.

    Raises:
        ValueError: If not exactly one of both is given, the budget is not positive, or its sampler is deterministic.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        kl_weight: float | None,
        kl_budget: float | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        if (kl_weight is None) == (kl_budget is None):
            raise ValueError(f"expected kl_weight or kl_budget, and null for the other, got {kl_weight=}, {kl_budget=}")
        if kl_budget is not None:
            if not 0 < kl_budget < math.inf:
                raise ValueError(f"expected kl_budget > 0 nats, got {kl_budget=}")
            self.check_stochastic()
        self.kl_weight, self.kl_budget = MOST if kl_weight is None else kl_weight, kl_budget
        self.spent: Tensor | float = 0.0
        """Nats of the designs that `draw` made last, `n`."""
        self._kl = math.nan

    def learn(self) -> None:
        """Find α for the budget."""
        if self.kl_budget is None:
            return
        low, high = math.log(LEAST), math.log(MOST)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._measured(math.exp(middle)) > self.kl_budget else (low, middle)
        self._kl = self._measured(LEAST if low == math.log(LEAST) else math.exp((low + high) / 2))

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        own = {} if self.kl_budget is None else {"kl_weight": self.kl_weight, "kl": self._kl}
        return super().state_dict() | own

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        if self.kl_budget is not None:
            self.kl_weight, self._kl = state["kl_weight"], state["kl"]

    def diagnostics(self) -> dict[str, float]:
        """The proxy's held-out error; under a budget α and what it comes to, in nats."""
        own = {"kl": self._kl, "kl_weight": self.kl_weight, "kl_unbound": float(self.kl_weight <= LEAST)}
        return (own if self.kl_budget is not None else {}) | super().diagnostics()

    def _measured(self, kl_weight: float) -> float:
        self.kl_weight = kl_weight
        self.draw(PROBED)
        return float(torch.as_tensor(self.spent).mean())


def chosen_nats(log_weight: Tensor) -> Tensor:
    """KL divergence of a choice among K by `n x K` log weights to one by chance, log K - entropy, an `n`-dim tensor."""
    log_share = log_weight.log_softmax(1)
    return math.log(log_weight.shape[1]) + (log_share.exp() * log_share).sum(1)
