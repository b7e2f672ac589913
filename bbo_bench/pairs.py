"""Pairs of a task and an optimizer. Not every one can work, so each is built once before the first run of a sweep."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from bbo_bench.containment import contained
from bbo_bench.core import Problem, UnsuitableError
from bbo_bench.device import limited_threads
from bbo_bench.plan import ConfigError, Plan, check, reason
from bbo_bench.plugins import Choice, choices
from bbo_bench.seeding import generator


def check_pairs(plans: Iterable[Plan], *, told: bool = False) -> None:
    """Build every distinct pair of task and optimizer on the host.

    Args:
        plans: Of the runs.
        told: Whether scores come from elsewhere, so that a task needs none of its own.

    Raises:
        ConfigError: If some cannot be built; says of each why, and which optimizers can work on its task.
    """
    tasks: dict[str, dict[str, Plan]] = defaultdict(dict)
    for plan in plans:
        task, optimizer, budget = (plan.config[key] for key in ("task", "optimizer", "budget"))
        tasks[json.dumps([task, budget["rounds"]])][json.dumps(optimizer)] = plan
    if refused := [line for pairs in tasks.values() for line in _refused(list(pairs.values()), told)]:
        raise ConfigError("\n".join(refused))


def suitable(problem: Problem) -> list[str]:
    """Installed optimizers that can be built on this problem as their YAML sets them; variants are left out."""
    bases = [each for each in choices("optimizer").values() if each.name == each.file.parent.name]
    return [each.name for each in bases if _builds(each, problem)]


def _refused(plans: list[Plan], told: bool) -> list[str]:
    """A line per pair that cannot be built, of plans that share a task, and one with the optimizers that can."""
    lines, unsuitable = [], False
    task = plans[0].config["task"]["name"]
    with limited_threads(plans[0].config["threads"]):
        try:
            with contained():
                built = plans[0].task()
                problem = built.problem(tuple(plans[0].config["budget"]["rounds"]), torch.device("cpu"))
        except Exception as error:
            return [f"task {task} cannot be built: {reason(error)}"]
        if not (built.scored or told):
            return [f"task {task} has no score of its own: ask for its designs, and tell their scores (bbo-bench ask)"]
        for plan in plans:
            try:
                with contained():
                    plan.build()(problem, generator(0, "pair"))
            except Exception as error:
                cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
                unsuitable |= (never := isinstance(cause, UnsuitableError))
                lines.append(
                    f"{plan.config['optimizer']['name']} cannot work on {task}: {cause if never else reason(error)}"
                )
        return [*lines, f"on {task} these can: {', '.join(suitable(problem))}"] if unsuitable else lines


def _builds(choice: Choice, problem: Problem) -> bool:
    try:
        check(choice, choice.settings)
        instantiate(choice.settings, _convert_="all", _partial_=True)(problem, generator(0, "pair"))
    except Exception:
        return False
    return True
