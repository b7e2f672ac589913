"""Bayesian optimization as Ax (Bakshy et al. 2018) sets it up by itself."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from bbo_bench.bridge import Bridge
from bbo_bench.core import Problem
from bbo_bench.domains import Sequences

if TYPE_CHECKING:
    from ax.api.client import Client

__all__ = ["Ax"]

METHODS = ("quality", "fast", "random_search")
"""What Ax takes for a generation strategy by name."""


class Ax(Bridge):
    """Asks Ax's client for trials: numbers of the unit cube, or an unordered choice for every token.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        method: Ax's name of a strategy, of which `fast` and `quality` fit Gaussian processes.

    Raises:
        ValueError: If Ax has no such strategy.
    """

    def __init__(self, problem: Problem, rng: Generator, *, method: str) -> None:
        if method not in METHODS:
            raise ValueError(f"expected a method of Ax, {', '.join(METHODS)}, got {method!r}")
        self.method = method
        super().__init__(problem, rng)

    def start(self) -> Client:
        """See `Bridge.start`; no initial design of Ax's own, as round 0 comes from the prior."""
        before = logging.root.manager.disable
        logging.disable(logging.INFO)  # Ax greets when it is imported
        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
        from ax.utils.common.logger import set_ax_logger_levels

        logging.disable(before)
        set_ax_logger_levels(logging.WARNING)
        names = [f"x_{i}" for i in range(self.dimension)]
        parameters: list[RangeParameterConfig | ChoiceParameterConfig]
        if isinstance(self.domain, Sequences):
            token = partial(ChoiceParameterConfig, values=list(range(self.domain.size)), parameter_type="int")
            parameters = [token(name=name, is_ordered=False) for name in names]
        else:
            parameters = [RangeParameterConfig(name=name, bounds=(0.0, 1.0), parameter_type="float") for name in names]
        client = Client(random_seed=0)
        client.configure_experiment(parameters=parameters)
        client.configure_optimization(objective="score")
        return client

    def asked(self, library: Client, n: int, seed: int) -> tuple[list[Any], Tensor]:
        """See `Bridge.asked`; a strategy remembers nothing but its seed, as what was told is the client's."""
        library.configure_generation_strategy(
            method=self.method,  # type: ignore[arg-type]
            initialization_budget=0,
            initialization_random_seed=seed,
        )
        trials = library.get_next_trials(max_trials=n)
        rows = [list(parameters.values()) for parameters in trials.values()]
        return list(trials), torch.tensor(rows, dtype=torch.double)

    def told(self, library: Client, handles: list[Any], y: list[float]) -> None:
        """See `Bridge.told`."""
        for trial, score in zip(handles, y, strict=True):
            library.complete_trial(trial, raw_data={"score": score})

    def shown(self, library: Client, u: list[list[float]], y: list[float]) -> None:
        """See `Bridge.shown`."""
        kind = int if isinstance(self.domain, Sequences) else float
        trials = [library.attach_trial({f"x_{i}": kind(value) for i, value in enumerate(row)}) for row in u]
        self.told(library, trials, y)
