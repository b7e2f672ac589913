"""Closed-form test functions, by BoTorch, with priors of mediocre designs: known optima, no meaning."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from botorch.utils.sampling import draw_sobol_samples
from torch import Tensor

from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Box
from bbo_bench.tasks.synthetic.codec import Probit
from bbo_bench.tasks.synthetic.functions import make

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS, SEED = 16_384, 0
"""Of the scrambled Sobol sample whose worse half is the data."""
HELD_OUT = 512


class Synthetic(DiffusionTask):
    """The negated value of a test function, whose data are the worse half of a Sobol sample of its box.

    Args:
        function: `ackley`, `rastrigin`, `rosenbrock`, `levy` or `hartmann`.
        dim: Number of coordinates: 20 or 200, and 6 for Hartmann's.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: The optimum.
        infeasible_score: Never needed: the functions are finite all over their boxes.

    Raises:
        ValueError: If there is no such function, or it has no prior in so many dimensions.
    """

    domain: Box

    def __init__(
        self,
        function: str,
        dim: int,
        noise_std: float,
        y_prior: float,
        best_known: float,
        infeasible_score: float,
    ) -> None:
        self.function, self.domain = make(function, dim)
        self.name = f"{function}_{dim}"
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known

    @property
    def folder(self) -> Path:
        """Every function and dimension has a prior of its own."""
        return super().folder / self.name

    def training_data(self) -> Tensor:
        """`7680 x d` mediocre designs on which the prior is trained."""
        return self._worse_half[:-HELD_OUT]

    def reference(self) -> Tensor:
        """See `Task.reference`: the last 512 mediocre designs, a stretch of the Sobol sequence of their own."""
        return self._worse_half[-HELD_OUT:]

    @cached_property
    def _worse_half(self) -> Tensor:
        bounds = torch.stack((self.domain.lower, self.domain.upper)).double()
        x = draw_sobol_samples(bounds, POINTS, q=1, seed=SEED).squeeze(1).float()
        return x[self.evaluate(x).argsort(stable=True)[: POINTS // 2].sort().values]

    def codec(self, data: Tensor | None = None) -> Probit:
        """See `DiffusionTask.codec`."""
        return Probit(self.domain)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`.

        Raises:
            ValueError: If a design is not finite, or lies outside the box.
        """
        y: Tensor = -self.function.evaluate_true(self.domain.check(x).detach().double())
        return y

    def valid(self, x: Tensor) -> Tensor:
        """Whether `n x d` designs lie in the box; nothing else could be wrong with them."""
        inside = (x >= self.domain.lower) & (x <= self.domain.upper)
        return inside.all(1)

    def features(self, x: Tensor) -> Tensor:
        """`n x d` places in the unit cube."""
        return self.domain.normalize(x)

    def best_design(self) -> Tensor:
        """See `Task.best_design`: the optimum."""
        return self.function.get_buffer("optimizers")[0].float()

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: parallel coordinates in the unit cube, the optimum in red."""
        place, optimum = (self.features(design.detach().cpu()[None])[0].numpy() for design in (x, self.best_design()))
        number, few = range(1, len(place) + 1), len(place) <= 20
        axes.plot(number, optimum, color="tab:red", linewidth=1.2, zorder=3)
        look = {"linewidth": 0.8, "marker": ".", "markersize": 3} if few else {"linewidth": 0.4}
        axes.plot(number, place, color="0.2", clip_on=False, **look)
        axes.set(xlim=(0.5, len(place) + 0.5), ylim=(0, 1), xticks=[], yticks=[])
