"""The evaluation of designs that are made for prompts: within each prompt, then averaged over them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from bbo_bench.core import Contextual, Prior, Task
from bbo_bench.domains import Captioned
from bbo_bench.evaluation import Evaluator
from bbo_bench.metrics import distinct
from bbo_bench.names import HELD_OUT
from bbo_bench.oracle import TaskError


class PromptedEvaluator:
    """Judges designs for prompts: every metric within a prompt, so that variety over prompts hides no collapse in one.

    Args:
        task: With a `Captioned` domain.
        prior: The task's prior, on `device`.
        evaluation: How many designs are recommended after a round, a multiple of eight times the prompts asked for.
        validation: How many of them the task's independent method scores after the last round.
        budget: Queries per round.
        seed: Of the run.
        device: Where the prior lives.

    Raises:
        ValueError: If `evaluation` does not suit the number of prompts.
        TaskError: If the domain or the prior knows no prompts.
    """

    def __init__(
        self,
        task: Task,
        prior: Prior,
        evaluation: int,
        validation: int,
        budget: tuple[int, ...],
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        domain = task.domain
        if not isinstance(domain, Captioned) or not isinstance(prior, Contextual):
            raise TaskError(
                f"{type(task).__name__} needs a Captioned domain, and a prior that draws prompts, as a DiffusionPrior "
                f"does whose codec is Prompted, got {type(domain).__name__} and {type(prior).__name__}"
            )
        least = distinct.SHARE * len(domain.asked)
        if evaluation % least:
            raise ValueError(
                f"budget.evaluation must be a multiple of {least}, {distinct.SHARE} designs for each of "
                f"{len(domain.asked)} prompts, got {evaluation}"
            )
        if budget[0] < len(domain.asked):
            raise ValueError(
                f"budget.rounds must begin with a design for each of {len(domain.asked)} prompts, got {list(budget)}"
            )
        self.domain, self.prior, self.size = domain, prior, evaluation
        size = evaluation // len(domain.asked)
        self.held_out = size * len(domain.held_out)
        """How many designs for held-out prompts are recommended after a round."""
        self.budget = budget
        self._each = [
            Evaluator(
                _of_prompt(task, domain, number),
                prior,
                size,
                validation // len(domain.asked) if number in domain.asked else 0,
                budget,
                seed,
                device,
            )
            for number in (*domain.asked, *domain.held_out)
        ]

    def __call__(
        self,
        round: int,
        queried_x: Tensor,
        queried_true: Tensor,
        recommended_x: Tensor,
        predicted: Tensor | None,
        last: bool,
        earlier: Sequence[float] = (),
        held_out: Tensor | None = None,
    ) -> dict[str, float]:
        """Means over prompts of what `Evaluator` says of each one's designs; see there.

        `held_out` are designs for prompts that are never asked for, where there are such.
        """
        asked, made = self.domain.prompt(queried_x), self.domain.prompt(recommended_x)
        rounds = torch.split(asked, list(self.budget[: round + 1]))
        rows = []
        for number in self.domain.asked:
            judge = self._each[number]
            judge.budget = tuple(int((each == number).sum()) for each in rounds)
            theirs, own = asked == number, made == number
            guess = None if predicted is None else predicted[own]
            with self.prior.drawing(range(number, number + 1)):
                rows.append(
                    judge(round, queried_x[theirs], queried_true[theirs], recommended_x[own], guess, last, earlier)
                )
        return _mean(rows) | ({} if held_out is None else self._of_held_out(held_out, round))

    def _of_held_out(self, x: Tensor, round: int) -> dict[str, float]:
        rows = []
        for number in self.domain.held_out:
            with self.prior.drawing(range(number, number + 1)):
                rows.append(self._each[number].of_designs(x[self.domain.prompt(x) == number], round))
        return {f"{key}{HELD_OUT}": value for key, value in _mean(rows).items()}


def _of_prompt(task: Task, domain: Captioned, number: int) -> Task:
    """The same task, with the real designs of one prompt alone.

    Raises:
        TaskError: If there are fewer than two.
    """
    real = task.reference()
    own = real[domain.prompt(real) == number]
    if len(own) < 2:
        raise TaskError(
            f"{type(task).__name__}.reference must have two designs at least for every prompt, got {len(own)} for "
            f"{domain.prompts[number]!r}"
        )
    view = copy.copy(task)
    view.reference = lambda: own  # type: ignore[method-assign]
    return view


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means of metrics over prompts; NaN where one is NaN for any."""
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
