"""Nav1D: plans of moves along a line, whose score is what executing them returns."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bbo_bench.core import Offline
from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.task import DiffusionTask, checked
from bbo_bench.domains import Box
from bbo_bench.metrics.reward import deviation
from bbo_bench.seeding import generator
from bbo_bench.tasks.nav1d.data import BEHAVIOURS, trajectories, transitions
from bbo_bench.tasks.nav1d.drawing import draw
from bbo_bench.tasks.nav1d.environment import HORIZON, SIZE, advance, executed, returns
from bbo_bench.tasks.nav1d.planning import best_plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING, HELD_OUT = 8192, 512
WIDTH = 0.1
"""h: the error of a planned position, at which a step's coherency is exp(-1/2)."""
COHERENT = 0.5
"""Least coherency of a valid plan."""


class Nav1D(DiffusionTask):
    """The return of executing a plan, a sum of 32 rewards of at most 1.

    A design is `32 x 2`: the position that is planned for each time, and the action there. Only the first position and
    the actions count for the score; the other positions are what the plan believes.

    Args:
        data: `partial` and `full`, of a random policy from narrow and wide starts; `expert`, of nearly the best one.
        sampler: Of the prior and of what is made of it: `ddpm`, `ddim`, `score_sde`, or `flow`, which has another
            prior, a rectified flow.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: The optimum.
        infeasible_score: Never needed: every plan can be executed.

    Raises:
        ValueError: If there is no such data set or sampler.
    """

    columns = tuple(f"{what}_{t}" for t in range(HORIZON) for what in ("position", "action"))
    domain = Box(torch.tensor([-SIZE, -1.0]).repeat(HORIZON, 1), torch.tensor([SIZE, 1.0]).repeat(HORIZON, 1))

    def __init__(
        self, data: str, sampler: str, noise_std: float, y_prior: float, best_known: float, infeasible_score: float
    ) -> None:
        if data not in BEHAVIOURS:
            raise ValueError(f"data must be one of {', '.join(BEHAVIOURS)}, got {data!r}")
        self.data, self.sampler, self.behaviour = data, checked(sampler), BEHAVIOURS[data]
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known

    @property
    def folder(self) -> Path:
        """Every data set has a prior of its own, and a flow."""
        return super().folder / (f"{self.data}_flow" if self.sampler == "flow" else self.data)

    def offline(self) -> Offline:
        """See `Task.offline`: the time is a one-hot vector, as rewards change from step to step."""
        return transitions(self.training_data())

    def training_data(self) -> Tensor:
        """`8192 x 32 x 2` trajectories of the behaviour policy."""
        return self._trajectories[:TRAINING]

    def reference(self) -> Tensor:
        """See `Task.reference`: 512 more of them."""
        return self._trajectories[TRAINING:]

    @cached_property
    def _trajectories(self) -> Tensor:
        return trajectories(self.behaviour, TRAINING + HELD_OUT, generator(0, f"nav1d {self.data}"))

    def codec(self, data: Tensor | None = None) -> Standardize:
        """See `DiffusionTask.codec`."""
        return Standardize(self.domain, data)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`.

        Raises:
            ValueError: If a plan does not lie in the domain.
        """
        x = self.domain.check(x).double()
        return returns(x[:, 0, 0], x[..., 1])

    def coherency(self, x: Tensor) -> Tensor:
        """Coherency scores of `n x 32 x 2` plans, an `n`-dim tensor: 1 where positions follow from the actions.

        The mean of exp(-(s_{t+1} - f(s_t, a_t))² / 2h²) over the steps (eq. 15).
        """
        position, action = x.double().unbind(-1)
        error = position[:, 1:] - advance(position, action)[:, :-1]
        return (-((error / WIDTH) ** 2) / 2).exp().mean(1)

    def valid(self, x: Tensor) -> Tensor:
        """Whether plans are coherent, by more than half: what they plan is what happens."""
        return self.coherency(x) > COHERENT

    def faults(self, x: Tensor) -> list[str]:
        """See `Task.faults`."""
        coherency = self.coherency(x).tolist()
        return ["" if each > COHERENT else f"what it plans does not happen: coherency {each:.2f}" for each in coherency]

    def features(self, x: Tensor) -> Tensor:
        """`n x 64` positions and actions."""
        return x.flatten(1)

    def metrics(self, x: Tensor) -> dict[str, float]:
        """The mean coherency, the mean return over the optimum, and the returns' standard deviation."""
        y = self.evaluate(x)
        return {
            "coherency": float(self.coherency(x).mean()),
            "of_optimum": float(y.mean()) / self.best_known,
            "return_std": deviation(y),
        }

    def best_design(self) -> Tensor:
        """See `Task.best_design`: by dynamic programming."""
        start, actions = best_plan()
        return torch.stack([executed(start[None], actions[None])[0], actions], -1).float()

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: positions over the rewards, as planned and, dashed, as executed."""
        draw(x, axes)
