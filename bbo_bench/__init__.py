"""A benchmark suite for online black-box optimization: score, naturalness and diversity of designs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bbo_bench.core import Task
    from bbo_bench.report.frame import load_results as load_results

__version__ = "0.1.0"


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


def __getattr__(name: str) -> Any:
    """`load_results`, which imports pandas only where it is asked for."""
    if name == "load_results":
        from bbo_bench.report.frame import load_results

        return load_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
