"""The only way to a score: counts every design against the budget, and adds the observation noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bbo_bench.core import Task

LARGEST = 1e100
"""Size of a score up to which it can be standardized: variances are finite in double precision."""


class BudgetExceeded(RuntimeError):
    """More designs were asked for than the budget has left; none of them was scored."""


class TaskError(RuntimeError):
    """The task broke its contract, for instance by a score that is NaN."""


class Scores(NamedTuple):
    """What an oracle knows of `n` designs, each an `n`-dim tensor on the host."""

    observed: Tensor
    """Noisy scores, all finite: what optimizers are told."""
    true: Tensor
    """Noise-free scores; −inf marks an infeasible design."""
    valid: Tensor
    """Whether each design is a legal object of its domain."""


class Oracle:
    """A task's score behind a budget.

    Args:
        task: The black box.
        budget: Designs that may be scored in all.
        spent: Designs scored before, when a run is resumed.
    """

    def __init__(self, task: Task, budget: int, spent: int = 0) -> None:
        if not task.noise_std >= 0:
            raise TaskError(f"{type(task).__name__}.noise_std must be 0 or more, got {task.noise_std}")
        self._task = task
        self.budget = budget
        self.spent = spent

    def __call__(self, x: Tensor, rng: Generator) -> Scores:
        """Score `n x shape` designs; they are charged before they are evaluated, so a crash is not a free look.

        Args:
            x: Designs of the task's domain, on any device.
            rng: Generator of the observation noise, on the host.

        Raises:
            BudgetExceeded: If fewer than `n` designs are left.
            TaskError: If the task raises, or gives scores of a wrong shape, or one that is NaN or +inf.
            ValueError: If a design is not of the domain.
        """
        if not isinstance(x, Tensor):
            self._task.domain.check(x)
        left = self.budget - self.spent
        if len(x) > left:
            raise BudgetExceeded(f"{len(x)} designs asked for, but {left} of {self.budget} are left")
        self.spent += len(x)
        x = x.detach().cpu().clone()
        self._task.domain.check(x)
        true, valid = true_scores(self._task, x), validity(self._task, x)
        noise = torch.randn(len(x), generator=rng, dtype=true.dtype)
        return Scores(finite(self._task, true) + self._task.noise_std * noise, true, valid)


def answer(task: Task, method: str, x: Tensor) -> Any:
    """What a task's method says of `n x shape` designs, of which it is given a copy.

    Raises:
        TaskError: If it raises.
    """
    try:
        return getattr(task, method)(x.clone())
    except Exception as error:
        name, first = type(task).__name__, f", the first of them {x[0].tolist()}" if len(x) else ""
        what = f"{type(error).__name__} ({error}) on {len(x)} designs{first}"
        raise TaskError(f"{name}.{method} raised {what}") from error


def asked(task: Task, method: str, x: Tensor) -> Tensor:
    """The same of a method that gives a tensor.

    Raises:
        TaskError: If it raises, or gives something else.
    """
    found = answer(task, method, x)
    if not isinstance(found, Tensor):
        raise TaskError(f"{type(task).__name__}.{method} must give a tensor, got {type(found).__name__}")
    return found


def true_scores(task: Task, x: Tensor) -> Tensor:
    """Noise-free scores of `n x shape` designs on the host, an `n`-dim double tensor.

    Raises:
        ValueError: If the designs are not of the task's domain.
        TaskError: If the task raises, or scores have a wrong shape, or one of them is NaN, +inf or beyond `LARGEST`.
    """
    x = task.domain.check(x)
    y = asked(task, "evaluate", x).double()
    if y.shape != x.shape[:1]:
        raise TaskError(f"{type(task).__name__}.evaluate must give {len(x)} scores, got a tensor of {tuple(y.shape)}")
    broken = y.isnan() | (y > LARGEST) | ((y < -LARGEST) & y.isfinite())
    if broken.any():
        i = int(broken.nonzero()[0])
        raise TaskError(
            f"{type(task).__name__}.evaluate gave {float(y[i])} for design {i}: {x[i].tolist()}; expected a number of "
            f"at most {LARGEST} in size, whose square is finite, or -inf for an infeasible design"
        )
    return y


def validity(task: Task, x: Tensor) -> Tensor:
    """Which of `n x shape` designs on the host are legal, an `n`-dim bool tensor.

    Raises:
        TaskError: If the task raises, or they have a wrong shape or type.
    """
    valid = asked(task, "valid", x)
    if valid.shape != x.shape[:1] or valid.dtype != torch.bool:
        name = type(task).__name__
        raise TaskError(f"{name}.valid must give {len(x)} bools, got {valid.dtype} of {tuple(valid.shape)}")
    return valid


def finite(task: Task, y: Tensor) -> Tensor:
    """`y` with the task's `infeasible_score` in the place of every −inf."""
    return torch.where(y == -torch.inf, y.new_tensor(task.infeasible_score), y)
