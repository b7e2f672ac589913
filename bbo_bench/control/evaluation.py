"""The evaluation of planners: what they come to in the environment, in a closed loop, from starts that it draws."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from bbo_bench.control.planning import Control, Planner, episodes
from bbo_bench.evaluation import NAN, Evaluator
from bbo_bench.metrics.reward import deviation
from bbo_bench.seeding import generator


class ControlEvaluator(Evaluator):
    """Judges what is recommended as every other design, and by the returns of playing episodes with it.

    Where nothing is queried, metrics of queries are NaN, and so are those that are areas over them.
    Its arguments are those of `Evaluator`; the starts of episodes derive from the run's seed.
    """

    @cached_property
    def control(self) -> Control:
        """How the task's plans are executed."""
        control = self.task.control()
        assert control is not None
        return control

    @torch.no_grad()
    def __call__(  # type: ignore[override]
        self,
        round: int,
        queried_x: Tensor,
        queried_true: Tensor,
        recommended_x: Tensor,
        predicted: Tensor | None,
        last: bool,
        earlier: Sequence[float],
        planner: Planner,
    ) -> dict[str, float]:
        """See `Evaluator.__call__`; `planner` makes plans as the optimizer would now."""
        row = super().__call__(round, queried_x, queried_true, recommended_x, predicted, last, earlier)
        return row | self.played(planner, predicted is not None)

    def played(self, planner: Planner, valued: bool) -> dict[str, float]:
        """Metrics of episodes, for each choice; NaN where a choice goes by values, and there are none."""
        environment = self.control.environment
        start = environment.reset(self.control.episodes, generator(self.seed, "starts"))
        best = None if self.control.optimum is None else float(self.control.optimum(start).mean())
        keys = [
            "return",
            "return_std",
            *(["success"] if environment.goal else []),
            *([] if best is None else ["of_optimum"]),
        ]
        row, spread = dict[str, float](), NAN
        for choice in self.control.choices:
            figures = dict.fromkeys(keys, NAN)
            if valued or choice in ("one", "mean"):
                outcome = episodes(self.control, planner, start, choice, generator(self.seed, "choice"))
                figures["return"], figures["return_std"] = float(outcome.returns.mean()), deviation(outcome.returns)
                if environment.goal:
                    figures["success"] = float(outcome.success.double().mean())
                if best is not None:
                    figures["of_optimum"] = figures["return"] / best
                if choice == "mean":
                    spread = float(outcome.entropy.mean())
            row |= {f"{key}_{choice}": value for key, value in figures.items()}
        return row | {"entropy": spread}
