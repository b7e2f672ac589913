"""What every fine-tuning method shares: policy, rewards, rollouts, training. A method is its losses."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from bbo_bench.core import Optimizer, Problem, State
from bbo_bench.diffusion.policy import Policy
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.surrogate.ensemble import Ensemble

DIAGNOSED = 64
"""Trajectories in the estimate of the KL divergence to the prior."""


class DivergedError(RuntimeError):
    """Training came to a loss that is not finite."""


@dataclass(frozen=True)
class Training:
    """How a policy is trained, by AdamW, which starts anew in every round.

    Attributes:
        learning_rate: Learning rate.
        weight_decay: Weight decay.
        max_grad_norm: Gradients are clipped to this norm.
        lora_rank: Rank of the trained LoRA matrices; None trains all weights.

    Raises:
        ValueError: If a number is out of range.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    max_grad_norm: float = 1.0
    lora_rank: int | None = 16

    def __post_init__(self) -> None:
        if min(self.learning_rate, self.max_grad_norm) <= 0 or self.weight_decay < 0:
            raise ValueError(f"learning_rate and max_grad_norm must be positive, weight_decay at least 0, got {self}")
        if self.lora_rank is not None and self.lora_rank < 1:
            raise ValueError(f"lora_rank must be at least 1, or null to train all weights, got {self.lora_rank}")


class FineTuner(Optimizer):
    """Fine-tunes the denoiser of a diffusion prior towards the rewards of a proxy, or of the oracle itself.

    Rewards are scores standardized by mean and standard deviation of the first round, which the prior has proposed, so
    that `kl_weight` means the same on every task: prior standard deviations per nat.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        proxy: Makes the model of the score; None for rewards from the oracle alone.
        kl_weight: Weight α of the KL divergence to the prior, per nat.
        training: How the policy is trained.

    Raises:
        TypeError: If the problem's prior is no `DiffusionPrior`.
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        proxy: Callable[[], Ensemble] | None,
        kl_weight: float,
        training: Training,
    ) -> None:
        super().__init__(problem, rng)
        if not isinstance(problem.prior, DiffusionPrior):
            raise TypeError(f"{type(self).__name__} fine-tunes a DiffusionPrior, got {type(problem.prior).__name__}")
        if kl_weight < 0:
            raise ValueError(f"kl_weight must be at least 0, got {kl_weight}")
        self.prior = problem.prior
        self.transition = self.prior.transition
        if not (self.transition.std > 0).all():
            raise ValueError(
                f"{type(self).__name__} needs a stochastic sampler: set eta > 0 and min_std > 0 in the prior"
            )
        self.reference = self.prior.denoiser
        self.training = training
        self.policy = Policy(self.reference, training.lora_rank, rng)
        self.proxy = proxy() if proxy is not None else None
        self.kl_weight = kl_weight
        self.x = torch.empty(0, *problem.domain.shape, device=rng.device)
        self.y = torch.empty(0, device=rng.device)
        self._asked: Tensor | None = None
        self._numbers: dict[str, float] = {}

    @abstractmethod
    def losses(self) -> Iterator[Tensor]:
        """Losses to descend, one after the other; a step of AdamW is taken after each."""

    def ask(self, n: int) -> Tensor:
        """Fresh samples of the policy."""
        self._asked = self.trajectories(n)
        return self.prior.decode(self._asked[:, -1])

    def recommend(self, n: int) -> Tensor:
        """Fresh samples of the policy."""
        return self.prior.decode(self.trajectories(n)[:, -1])

    def tell(self, x: Tensor, y: Tensor) -> None:
        """Refit the proxy to all data, then fine-tune the policy."""
        self.x, self.y = torch.cat([self.x, x]), torch.cat([self.y, y])
        if self.proxy is not None:
            self.proxy.fit(self.prior.encode(self.x), self.y, self.rng)
        self._numbers = {"loss": self._descend(), **self._diagnose()}
        self._asked = None

    def predict(self, x: Tensor) -> Tensor | None:
        """The proxy's mean prediction, without optimism."""
        return None if self.proxy is None else self.proxy.predict(self.prior.encode(x)).detach()

    def reward(self, z: Tensor) -> Tensor:
        """Optimistic rewards of `n x latent_shape` latents by the proxy, an `n`-dim tensor, differentiable.

        Raises:
            ValueError: If there is no proxy.
        """
        if self.proxy is None:
            raise ValueError(f"{type(self).__name__} needs a proxy for this, but was made with proxy=null")
        return self.standardized(self.proxy(z))

    def standardized(self, y: Tensor) -> Tensor:
        """Scores in standard deviations of the first round above its mean."""
        first = self.y[: self.problem.budget[0]]
        std = first.std()
        return (y - first.mean()) / torch.where(std > 0, std, torch.ones_like(std))

    @torch.no_grad()
    def trajectories(self, n: int) -> Tensor:
        """States x_T, ..., x_0 of fresh samples of the policy, `n x (T+1) x latent_shape`."""
        noise = self.prior.noise(n, self.rng)
        return torch.stack([noise, *self.transition.walk(self.policy.merged(), noise, self.rng)], 1)

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return {
            "x": self.x,
            "y": self.y,
            "policy": self.policy.weights(),
            "proxy": None if self.proxy is None else self.proxy.state_dict(),
            "diagnostics": self._numbers,
        }

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        self.x, self.y = state["x"].to(self.rng.device), state["y"].to(self.rng.device)
        self.policy.load_weights(state["policy"])
        if self.proxy is not None:
            self.proxy.load_state_dict(state["proxy"], self.rng.device)
        self._numbers = state["diagnostics"]

    def diagnostics(self) -> dict[str, float]:
        """Mean loss of the last fine-tuning, KL of the policy's trajectories to the prior's, held-out proxy error."""
        return self._numbers

    def _descend(self) -> float:
        weights = list(self.policy.trainable().values())
        training = self.training
        optimizer = torch.optim.AdamW(weights, lr=training.learning_rate, weight_decay=training.weight_decay)
        total, steps = torch.zeros((), device=self.rng.device), 0
        for loss in self.losses():
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(weights, training.max_grad_norm)
            optimizer.step()
            total += loss.detach()
            steps += 1
        mean = float(total) / max(steps, 1)
        if not math.isfinite(mean):
            name = type(self).__name__
            raise DivergedError(f"{name}: the loss became {mean}; lower learning_rate or raise kl_weight")
        return mean

    @torch.no_grad()
    def _diagnose(self) -> dict[str, float]:
        step = self.transition
        x, k = pairs(self.trajectories(DIAGNOSED))
        policy, prior = (step.mean_by(net, k, x) for net in (self.policy, self.reference))
        path_kl = float(step.kl(k, policy, prior).sum()) / DIAGNOSED
        return {"kl": path_kl} | ({} if self.proxy is None else {"proxy_error": self.proxy.error})


def check_counts(**counts: int) -> None:
    """Raise `ValueError` unless all counts are at least 1; names those that are not."""
    wrong = ", ".join(f"{name}={count}" for name, count in counts.items() if count < 1)
    if wrong:
        raise ValueError(f"expected counts of at least 1, got {wrong}")


def pairs(states: Tensor) -> tuple[Tensor, Tensor]:
    """All x_t that a step is taken from, `nT x latent_shape`, and their step numbers, of `n x (T+1) x latent_shape`."""
    n, length = states.shape[:2]
    k = torch.arange(length - 1, device=states.device).repeat(n)
    return states[:, :-1].flatten(0, 1), k
