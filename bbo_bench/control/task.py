"""Tasks whose designs are plans in a simulator: observations and actions, step by step, from a given state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from bbo_bench.control.environment import Environment, Executed, execute
from bbo_bench.control.planning import Control
from bbo_bench.core import Offline, Transitions
from bbo_bench.diffusion.codecs import Codec, Standardize, Started
from bbo_bench.diffusion.inverse_dynamics import InverseDynamics
from bbo_bench.diffusion.task import DiffusionTask, checked
from bbo_bench.domains import Box
from bbo_bench.metrics.reward import deviation

LENGTH = 32
"""Steps of a plan."""
COHERENT = 0.5
"""Least coherency of a valid plan."""
EVERY = 4
"""Steps of a plan between those that are features."""
DISCOUNT = 0.99
"""γ with which critics look ahead."""
FRAMEWORKS = ("diffuser", "decision_diffuser")
"""What is diffused: observations and actions (Janner et al. 2022), or observations, from which actions follow."""


class PlanTask(DiffusionTask):
    """Plans of 32 steps of an environment; a design is `32 x (o + a)`, and its first observation is given.

    The other observations are what a plan believes. The task says where a plan begins, what its score is and how far
    it is from what happens; its constructor sets `environment`, `names`, `bounds` and `size` before it calls this one.

    Args:
        control: How plans are executed: what `Control` takes but for environment, starts and actions.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: Best score seen.
        infeasible_score: What an infeasible plan counts as.
        framework: One of `FRAMEWORKS`; each has a prior of its own.
        sampler: See `DiffusionTask`.

    Raises:
        ValueError: If there is no such framework or sampler.
    """

    domain: Box
    open_ended = True
    width: float
    """h: the error of a planned observation at which a step's coherency is exp(-1/2)."""
    environment: Environment
    """What plans are executed in."""
    names: Sequence[str]
    """Of the numbers of an observation and of an action."""
    bounds: Tensor
    """`o + a x 2`: what these numbers lie between."""
    size: int
    """Numbers of an observation, o."""

    def __init__(
        self,
        control: Mapping[str, Any],
        noise_std: float,
        y_prior: float,
        best_known: float,
        infeasible_score: float,
        framework: str = "diffuser",
        sampler: str | None = None,
    ) -> None:
        if framework not in FRAMEWORKS:
            raise ValueError(f"framework must be one of {', '.join(FRAMEWORKS)}, got {framework!r}")
        self.framework, self.sampler = framework, checked(sampler)
        self.columns = tuple(f"{name}_{t}" for t in range(LENGTH) for name in self.names)
        self.domain = Box(*self.bounds.repeat(LENGTH, 1, 1).unbind(-1))
        self.given = torch.zeros(LENGTH, len(self.names), dtype=torch.bool)
        self.given[0, : self.size] = True
        self._control = Control(self.environment, self.started, self.actions, **control)
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known
        self._last: tuple[Tensor, Executed] | None = None

    @property
    def variant(self) -> str:
        """What the name of the prior's folder ends in."""
        states = "_states" if self.framework == "decision_diffuser" else ""
        return states + ("_flow" if self.sampler == "flow" else "")

    @abstractmethod
    def transitions(self) -> Transitions:
        """The steps of the data set."""

    @abstractmethod
    def starts(self) -> Tensor:
        """`m x o` observations of the data set from which plans are made while they are learnt."""

    @abstractmethod
    def begun(self, x: Tensor) -> Tensor:
        """`n x s` states in which plans begin."""

    @abstractmethod
    def errors(self, x: Tensor) -> Tensor:
        """`n x 31` errors of planned observations after the first, NaN or infinite where there is no telling."""

    def codec(self, data: Tensor | None = None) -> Started:
        """See `DiffusionTask.codec`."""
        if self.framework == "diffuser":
            inner: Codec = Standardize(self.domain, data)
        else:
            inner = InverseDynamics(self.domain, self.size, data)
        return Started(inner, self.given[:, : inner.latent_shape[1]], self.started(self.starts()))

    def offline(self) -> Offline:
        """See `Task.offline`."""
        first = torch.zeros_like(self.given)
        first[0, : self.size] = True
        data = self.transitions()._asdict()
        split = partial(parted, self.size)  # no method, which would lead an optimizer to the task
        return Offline(**data, steps=split, given=first, relative=True, executed=True, discount=DISCOUNT)

    def control(self) -> Control:
        """See `Task.control`."""
        return self._control

    def steps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Observations `n x 32 x o` and actions `n x 32 x a` of plans."""
        return parted(self.size, x)

    def actions(self, x: Tensor) -> Tensor:
        """`n x 32 x a` actions of plans."""
        return x[..., self.size :]

    def started(self, observation: Tensor) -> Tensor:
        """Designs, zero but for what is given, from `n x o` observations."""
        x = observation.new_zeros(len(observation), *self.domain.shape)
        x[..., : self.size] = observation[:, None]
        return self.domain.clamp(x * self.given)

    def execute(self, x: Tensor) -> Executed:
        """What the actions of plans come to; kept for the last plans, as score, validity and metrics ask for it."""
        if self._last is None or not torch.equal(self._last[0], x):
            self._last = x.clone(), execute(self.environment, self.begun(x), self.actions(x))
        return self._last[1]

    def executed(self, x: Tensor) -> Transitions:
        """See `Task.executed`: to the end of the plan, or of the episode."""
        outcome = self.execute(x)
        before, after = outcome.states[:, :-1].flatten(0, 1), outcome.states[:, 1:].flatten(0, 1)
        seen = Transitions(
            self.environment.observe(before),
            self.actions(x).flatten(0, 1),
            outcome.rewards.flatten().float(),
            self.environment.observe(after),
            self.environment.over(after),
        )
        return Transitions(*(each[~self.environment.over(before) & after.isfinite().all(1)] for each in seen))

    def coherency(self, x: Tensor) -> Tensor:
        """Coherency scores of plans, an `n`-dim tensor: the mean of exp(-(error/h)² / 2) over the steps."""
        return (-((self.errors(x) / self.width) ** 2) / 2).exp().nan_to_num(0).mean(1)

    def valid(self, x: Tensor) -> Tensor:
        """Whether plans are coherent, by more than half."""
        return self.coherency(x) > COHERENT

    @cached_property
    def scale(self) -> Tensor:
        """`o + a` standard deviations of the data's numbers, 1 where one does not vary."""
        data = self.transitions()
        std = torch.cat([data.observation, data.action], 1).std(0)
        return torch.where(std > 1e-3, std, 1)

    def features(self, x: Tensor) -> Tensor:
        """`n x 8(o + a)` numbers of every fourth step, in standard deviations of the data."""
        return (x[:, ::EVERY] / self.scale.to(x)).flatten(1)

    def metrics(self, x: Tensor) -> dict[str, float]:
        """The mean coherency, the mean error of the first planned observation, the standard deviation of scores."""
        first = self.errors(x)[:, 0]
        return {
            "coherency": float(self.coherency(x).mean()),
            "first_error": float(first[first.isfinite()].mean()),
            "gain_std": deviation(self.evaluate(x)),
        }


def parted(size: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Observations of `size` numbers, and actions, of plans."""
    return x[..., :size], x[..., size:]
