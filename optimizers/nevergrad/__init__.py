"""Any optimizer that Nevergrad (Rapin and Teytaud 2018) has registered, by its name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.bridge import Bridge
from bbo_bench.core import Problem
from bbo_bench.domains import Sequences
from bbo_bench.plugins import suggestion

__all__ = ["Nevergrad"]


class Nevergrad(Bridge):
    """Asks an optimizer for points of the unit cube, or for a choice for every token.

    It is told the number of queries and the size of the largest round, by which some optimizers plan.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        optimizer: A name in `nevergrad.optimizers.registry`, such as `NGOpt`.

    Raises:
        ValueError: If Nevergrad has no such optimizer.
    """

    def __init__(self, problem: Problem, rng: Generator, *, optimizer: str) -> None:
        self.name = optimizer
        super().__init__(problem, rng)

    def start(self) -> Any:
        """See `Bridge.start`."""
        import nevergrad  # which draws from NumPy's global state

        if self.name not in nevergrad.optimizers.registry:
            known = suggestion(self.name, nevergrad.optimizers.registry)
            raise ValueError(f"Nevergrad has no optimizer {self.name!r}; {known}")
        if isinstance(self.domain, Sequences):
            space = nevergrad.p.Choice(range(self.domain.size), repetitions=self.dimension)
        else:
            space = nevergrad.p.Array(shape=(self.dimension,), lower=0.0, upper=1.0)
        space.random_state.seed(0)
        budget = self.problem.budget
        return nevergrad.optimizers.registry[self.name](space, budget=sum(budget), num_workers=max(budget))

    def asked(self, library: Any, n: int, seed: int) -> tuple[list[Any], Tensor]:
        """See `Bridge.asked`."""
        library.parametrization.random_state.seed(seed)
        candidates = [library.ask() for _ in range(n)]
        return candidates, torch.tensor([list(each.value) for each in candidates], dtype=torch.double)

    def told(self, library: Any, handles: list[Any], y: list[float]) -> None:
        """See `Bridge.told`; Nevergrad minimizes."""
        for candidate, score in zip(handles, y, strict=True):
            library.tell(candidate, -score)

    def shown(self, library: Any, u: list[list[float]], y: list[float]) -> None:
        """See `Bridge.shown`; an optimizer that takes none but its own goes without."""
        import nevergrad

        kind = int if isinstance(self.domain, Sequences) else float
        for row, score in zip(u, y, strict=True):
            values = list(map(kind, row))
            value = tuple(values) if kind is int else torch.tensor(values, dtype=torch.double).numpy()
            try:
                library.tell(library.parametrization.spawn_child(new_value=value), -score)
            except nevergrad.errors.TellNotAskedNotSupportedError:
                return
