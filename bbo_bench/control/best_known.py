"""Find the best score of plans: `python -m bbo_bench.control.best_known hopper_medium`; some minutes a task.

By the cross-entropy method over the actions of plans, from held-out starts; what is planned is what is executed.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from bbo_bench import load_task
from bbo_bench.control.environment import execute
from bbo_bench.control.task import PlanTask
from bbo_bench.seeding import generator

STARTS, POPULATION, ELITE, ITERATIONS = 8, 32, 5, 12
SPREAD, LEAST = 0.3, 0.03
"""Standard deviation of actions about those of the data's, in the beginning, and what is added to the elite's.

In halves of what the numbers of an action range over.
"""


def searched(task: PlanTask) -> Tensor:
    """`8 x shape` plans, the best found from as many starts."""
    rng = generator(0, "cross-entropy")
    held_out = task.reference()
    best = held_out[:: len(held_out) // STARTS][:STARTS]
    mean, top = task.actions(best), task.evaluate(best)
    low, high = (task.actions(bound) for bound in (task.domain.lower, task.domain.upper))
    half = (high - low) / 2
    std = (SPREAD * half).expand_as(mean)
    for _ in range(ITERATIONS):
        action = mean[:, None] + std[:, None] * torch.randn(STARTS, POPULATION, *mean.shape[1:], generator=rng)
        plans = expecting(task, best.repeat_interleave(POPULATION, 0), action.clamp(low, high).flatten(0, 1))
        y = task.evaluate(plans).reshape(STARTS, POPULATION)
        plans = plans.reshape(STARTS, POPULATION, *plans.shape[1:])
        elite = y.topk(ELITE, 1).indices
        chosen = task.actions(plans[torch.arange(STARTS)[:, None], elite])
        mean, std = chosen.mean(1), chosen.std(1) + LEAST * half
        better = y.amax(1) > top
        best = torch.where(better[:, None, None], plans[torch.arange(STARTS), elite[:, 0]], best)
        top = torch.where(better, y.amax(1), top)
    return best


def expecting(task: PlanTask, x: Tensor, action: Tensor) -> Tensor:
    """Plans of `n x 32 x a` actions, from where `n x shape` others begin, that expect what happens."""
    states = execute(task.environment, task.begun(x), action).states[:, :-1]
    observation = task.environment.observe(states.flatten(0, 1)).reshape(*action.shape[:2], -1)
    plans = task.domain.clamp(torch.cat([observation, action], -1))
    return torch.where(task.given, x, plans)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        task = load_task(name)
        assert isinstance(task, PlanTask)
        x = searched(task)
        y = task.evaluate(x)
        scores = [round(each, 1) for each in y.tolist()]
        print(f"{name}: best {float(y[task.valid(x)].max()):.2f}, of {STARTS} starts {scores}", flush=True)
