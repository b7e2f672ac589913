"""Any sampler of Optuna (Akiba et al. 2019), by its name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from bbo_bench.bridge import Bridge
from bbo_bench.core import Problem
from bbo_bench.domains import Sequences
from bbo_bench.plugins import suggestion

if TYPE_CHECKING:
    import optuna

__all__ = ["OptunaSampler"]


class OptunaSampler(Bridge):
    """Asks a study for trials: numbers of the unit cube, or a categorical choice for every token.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        sampler: Name of a class in `optuna.samplers`, such as `TPESampler`.
        settings: Its arguments, but for the seed.

    Raises:
        ValueError: If Optuna has no such sampler, or it takes no such argument.
    """

    def __init__(self, problem: Problem, rng: Generator, *, sampler: str, settings: Mapping[str, Any]) -> None:
        import optuna

        known = [name for name in dir(optuna.samplers) if name.endswith("Sampler") and name != "BaseSampler"]
        if sampler not in known:
            raise ValueError(f"Optuna has no sampler {sampler!r}; {suggestion(sampler, known)}")
        self.kind, self.settings = getattr(optuna.samplers, sampler), dict(settings)
        super().__init__(problem, rng)

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """A new sampler.

        Raises:
            ValueError: If it takes no such argument.
        """
        from optuna.exceptions import ExperimentalWarning

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                made: optuna.samplers.BaseSampler = self.kind(**self.settings, seed=seed)
        except TypeError as error:
            raise ValueError(f"{self.kind.__name__}: {error}") from error
        return made

    def start(self) -> optuna.Study:
        """See `Bridge.start`."""
        import optuna
        from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

        token = isinstance(self.domain, Sequences) and CategoricalDistribution(range(self.domain.size))
        space: BaseDistribution = token or FloatDistribution(0, 1)
        self.space = {f"x_{i}": space for i in range(self.dimension)}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(direction="maximize", sampler=self.sampler(0))

    def asked(self, library: optuna.Study, n: int, seed: int) -> tuple[list[Any], Tensor]:
        """See `Bridge.asked`."""
        library.sampler = self.sampler(seed)
        trials = [library.ask(self.space) for _ in range(n)]
        rows = [[trial.params[name] for name in self.space] for trial in trials]
        return trials, torch.tensor(rows, dtype=torch.double)

    def told(self, library: optuna.Study, handles: list[Any], y: list[float]) -> None:
        """See `Bridge.told`."""
        for trial, score in zip(handles, y, strict=True):
            library.tell(trial.number, score)

    def shown(self, library: optuna.Study, u: list[list[float]], y: list[float]) -> None:
        """See `Bridge.shown`."""
        from optuna.trial import create_trial

        kind = int if isinstance(self.domain, Sequences) else float
        for row, score in zip(u, y, strict=True):
            params = dict(zip(self.space, map(kind, row), strict=True))
            library.add_trial(create_trial(params=params, distributions=self.space, value=score))
