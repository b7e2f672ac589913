"""What a program of one's own imports: tasks and optimizers by name, and the metrics of designs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from bbo_bench.core import Optimizer, Task
    from bbo_bench.loop import Build
    from bbo_bench.plugins import Kind

ROUNDS = (64, 128, 256, 512)
"""Of the budget `standard`."""


def load_task(name: str, **settings: Any) -> Task:
    """The task of that name, with the settings of its YAML file but for those that are given.

    Warns where these make another black box, whose `y_prior` and `best_known` would have to be measured anew.

    Raises:
        PluginError: If there is no such task, what it needs is not installed, or it has no such setting.
        ValueError: If a setting's value is none that the task takes.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    from bbo_bench.plan import ConfigError, check, check_constants
    from bbo_bench.plugins import find

    choice = find("task", name)
    check(choice, choice.settings | settings)
    try:
        check_constants(choice, choice.settings | settings)
    except ConfigError as error:
        warnings.warn(str(error), stacklevel=2)
    try:
        task: Task = instantiate(choice.settings | settings, _convert_="all")
    except InstantiationException as error:
        raise (error.__cause__ or error) from None
    return task


def load_optimizer(
    name: str, task: Task, *, budget: Sequence[int] = ROUNDS, seed: int = 0, device: str = "auto", **settings: Any
) -> Optimizer:
    """The optimizer of that name for a task, with the settings of its YAML file but for those that are given.

    Its `ask(n)`, `tell(x, y)` and `recommend(n)` can be called from any loop. `run` asks the prior in the first round,
    and tells that before it asks the optimizer; do so too where an optimizer says that it has been told nothing.

    Args:
        name: Of the optimizer.
        task: What it is to work on; it is told nothing of the score.
        budget: Queries per round, by which some optimizers plan.
        seed: Of everything that it draws.
        device: `auto`, `cpu`, `cuda` or `mps`.
        **settings: In the place of its YAML's; those of parts have dots, as in `**{"training.learning_rate": 1e-3}`.

    Raises:
        PluginError: If there is no such optimizer, what it needs is not installed, or it has no such setting.
        UnsuitableError: If it cannot work on the task.
        ValueError: If a setting's value is none that it takes.
    """
    from bbo_bench.device import resolve
    from bbo_bench.seeding import generator, single_precision

    where = resolve(device)
    with single_precision():
        return builder(name, settings)(task.problem(tuple(budget), where), generator(seed, "build", device=where))


def builder(name: str, settings: Mapping[str, Any]) -> Build:
    """What builds the optimizer of a name, with the settings that are given in the place of its YAML's.

    Raises:
        PluginError: See `load_optimizer`.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    build = instantiate(chosen("optimizer", name, settings), _convert_="all", _partial_=True)

    def built(problem: Any, rng: Any) -> Optimizer:
        try:
            optimizer: Optimizer = build(problem, rng)
        except InstantiationException as error:
            raise (error.__cause__ or error) from None
        return optimizer

    return built


def chosen(kind: Kind, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a plugin, with those that are given in the place of its YAML's, checked.

    Raises:
        PluginError: See `load_optimizer`.
    """
    from omegaconf import OmegaConf

    from bbo_bench.plan import check
    from bbo_bench.plugins import find

    choice = find(kind, name)
    merged: Any = OmegaConf.create(choice.settings)
    for key, value in settings.items():
        OmegaConf.update(merged, key, value, merge=True)
    found: dict[str, Any] = OmegaConf.to_container(merged)  # type: ignore[assignment]
    check(choice, found)
    return found


def evaluate(
    task: Task, x: Tensor, *, predicted: Tensor | None = None, seed: int = 0, device: str = "auto"
) -> pd.Series:
    """Every metric of `m x shape` designs, m a multiple of 8, as a run has them for what an optimizer recommends.

    `score` is `distinct_top` here, as there is no curve to take an area of; metrics of queried designs are left out.

    Args:
        task: Whose designs they are.
        x: The designs.
        predicted: A model's `m` scores of them, for `proxy_gap`.
        seed: Of the sample of the prior that `frechet` is relative to.
        device: Where the prior computes.

    Raises:
        ValueError: If the designs or the predictions are malformed.
    """
    import pandas as pd

    from bbo_bench.device import resolve
    from bbo_bench.domains import Captioned
    from bbo_bench.evaluation import Evaluator
    from bbo_bench.oracle import true_scores
    from bbo_bench.prompts import PromptedEvaluator
    from bbo_bench.seeding import single_precision

    where, x = resolve(device), x.detach().cpu()
    with single_precision():
        problem = task.problem((len(x),), where)
        kind = PromptedEvaluator if isinstance(task.domain, Captioned) else Evaluator
        judge = kind(task, problem.prior, len(x), 0, (len(x),), seed, where)
        true = true_scores(task, x) if task.scored else x.new_zeros(len(x)).double()
        row = judge(0, x, true, x, predicted, True)
    queried = ("best", "top10", "auc_top10")
    return pd.Series({key: value for key, value in row.items() if key not in queried}, dtype=float)


def run(
    task: str,
    optimizer: str,
    *,
    folder: str | Path,
    budget: Sequence[int] = ROUNDS,
    evaluation: int = 256,
    validation: int = 64,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    **settings: Any,
) -> pd.DataFrame:
    """Run an optimizer on a task, or what is left of it, and give its metrics, a row per round.

    Args:
        task: Its name.
        optimizer: Its name.
        folder: Of the run; complete, it is only read.
        budget: Queries per round.
        evaluation: Designs that are recommended after a round, for its metrics.
        validation: How many of the last ones the task's independent method scores.
        seed: Everything random derives from it.
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: Of a CPU.
        **settings: Of the optimizer; see `load_optimizer`.

    Raises:
        UsageError: If a name or a setting is unknown.
        RecordError: If the folder holds another run, or is in use or damaged.
    """
    import pandas as pd

    from bbo_bench.device import resolve
    from bbo_bench.plan import Plan

    config = {
        "task": {"name": task, **chosen("task", task, {})},
        "optimizer": {"name": optimizer, **chosen("optimizer", optimizer, settings)},
        "budget": {"rounds": list(budget), "evaluation": evaluation, "validation": validation},
        "seed": seed,
        "device": resolve(device).type,
        "threads": threads,
    }
    Plan(Path(folder), config).execute()
    return pd.read_csv(Path(folder, "metrics.csv"))
