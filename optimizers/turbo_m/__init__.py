"""TuRBO-m (Eriksson et al. 2019): several trust regions, each with a process of its own, compete for the queries."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer, places
from bbo_bench.core import Problem, State
from bbo_bench.domains import Box, Sequences
from bbo_bench.optimizers.turbo import Turbo

__all__ = ["TurboM"]


class TurboM(ArchiveOptimizer):
    """Asks for the best of what the regions draw: every query goes to the region whose posterior draw is highest.

    A region knows the designs that it has asked for alone, and a share of round 0. One that starts again is first given
    its share of a round, as samples of the prior.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        inner: Makes a region.
        regions: Their number.

    Raises:
        ValueError: If a setting is out of range.
    """

    domains = (Box, Sequences)

    def __init__(
        self, problem: Problem, rng: Generator, *, inner: Callable[[Problem, Generator], Turbo], regions: int
    ) -> None:
        super().__init__(problem, rng)
        if regions < 1:
            raise ValueError(f"expected regions >= 1, got {regions=}")
        self.inner, self.number = inner, regions
        self.owners: list[Tensor] = []
        self._asked: Tensor | None = None
        self._owner: Tensor | None = None

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        x, drawn = zip(*(self._drawn(region, n) for region in self.regions), strict=True)
        self._owner = torch.stack(drawn).argmax(0)
        self._asked = torch.stack(x)[self._owner, torch.arange(n, device=self._owner.device)]
        return self._asked

    def _drawn(self, region: Turbo, n: int) -> tuple[Tensor, Tensor]:
        """`n x shape` designs of a region, and what its process draws there; infinite where it is to start."""
        if not region.starts:
            v, drawn = region.drawn(n)
            return region.to_designs(region.axes.inverse(v)), drawn
        share = -(-n // self.number)
        drawn = torch.full((n,), -torch.inf, dtype=torch.double, device=self.y.device)
        drawn[torch.randperm(n, generator=self.rng, device=self.rng.device)[:share]] = torch.inf
        return self.problem.prior.decode(self.problem.prior.sample(n, self.rng)), drawn

    def tell(self, x: Tensor, y: Tensor) -> None:
        """See `Optimizer.tell`; designs that it has not asked for, as round 0's, are dealt out."""
        owner = torch.arange(len(x), device=y.device) % self.number
        if self._asked is not None and self._owner is not None:
            at = places(x, self._asked)
            owner = torch.where(at < 0, owner, self._owner[at])
        self.owners.append(owner)
        self._asked = self._owner = None
        super().tell(x, y)

    def update(self) -> None:
        """Tell every region what is its own."""
        self.regions = [self.inner(self.problem, self.rng) for _ in range(self.number)]
        for i, region in enumerate(self.regions):
            for (x, y), owner in zip(self.rounds, self.owners, strict=True):
                if (own := owner == i).any():
                    region.rounds.append((x[own], y[own]))
            if region.rounds:
                region.update()

    def predict(self, x: Tensor) -> Tensor:
        """See `Optimizer.predict`: by the process that is surest of a design."""
        known = [region.moments(x) for region in self.regions if region.rounds]
        mean, std = (torch.stack(each) for each in zip(*known, strict=True))
        return mean.gather(0, std.argmin(0, keepdim=True)).squeeze(0)

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"owners": self.owners}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        self.owners = [owner.to(self.rng.device) for owner in state["owners"]]
        super().load_state_dict(state)

    def diagnostics(self) -> dict[str, float]:
        """Adds `length`, the mean of the regions' L, and `largest`, the largest share of the last round."""
        lengths = [region.length for region in self.regions]
        share = self.owners[-1].bincount(minlength=self.number).max() / len(self.owners[-1])
        return super().diagnostics() | {"length": sum(lengths) / self.number, "largest": float(share)}
