"""What bridges to other libraries' optimizers share: they are asked and told, and replayed where a run goes on."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem, State
from bbo_bench.domains import Box, Sequences
from bbo_bench.seeding import generator, seeded


class Asked(NamedTuple):
    """What a library was asked for, and has not been told of yet."""

    handles: list[Any]
    """Its own candidates."""
    seed: int
    x: Tensor
    """`n x shape`: the designs that they stand for."""


class Bridge(ArchiveOptimizer):
    """Asks another library's optimizer, in the unit cube of a box or for tokens, and ships the best designs told.

    Round 0 comes from the prior; the library is told of it as of designs that it has not asked for. Its state follows
    from the seeds of its rounds and from the scores, so that it is replayed on loading, and no library's own format is
    saved.

    A subclass says how the library starts, is asked, told and shown designs.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
    """

    domains = (Box, Sequences)

    def __init__(self, problem: Problem, rng: Generator) -> None:
        super().__init__(problem, rng)
        self.dimension = int(torch.Size(self.domain.shape).numel())
        self.seeds: list[int | None] = []
        self._asked: Asked | None = None
        self._replay()

    @abstractmethod
    def start(self) -> Any:
        """The library's optimizer, which knows nothing yet."""

    @abstractmethod
    def asked(self, library: Any, n: int, seed: int) -> tuple[list[Any], Tensor]:
        """`n` candidates of the library's, which draws from `seed`, and the `n x d` vectors that they stand for."""

    @abstractmethod
    def told(self, library: Any, handles: list[Any], y: list[float]) -> None:
        """Tell the scores of candidates, higher being better."""

    @abstractmethod
    def shown(self, library: Any, u: list[list[float]], y: list[float]) -> None:
        """Tell the scores of `n x d` vectors that the library has not asked for."""

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        self._forget()
        seed = int(torch.randint(2**31 - 1, (), generator=self.rng, device=self.rng.device))
        handles, u = self._candidates(n, seed)
        self._asked = Asked(handles, seed, self.to_designs(u))
        return self._asked.x

    def tell(self, x: Tensor, y: Tensor) -> None:
        """See `Optimizer.tell`."""
        if self._asked is not None and torch.equal(self._asked.x, x):
            self._told(self._asked.handles, y, self._asked.seed)
            self.seeds.append(self._asked.seed)
            self._asked = None
        else:
            self._forget()
            self._shown(x, y)
            self.seeds.append(None)
        super().tell(x, y)

    def _forget(self) -> None:
        """Undo an ask that nothing was told of: libraries cannot, so it is replayed."""
        if self._asked is not None:
            self._replay()

    def _replay(self) -> None:
        """Ask for the rounds so far, and tell them, once more."""
        self._asked = None
        with seeded(generator(0, "start")):
            self.library = self.start()
        for (x, y), seed in zip(self.rounds, self.seeds, strict=True):
            if seed is None:
                self._shown(x, y)
            else:
                self._told(self._candidates(len(x), seed)[0], y, seed)

    def _candidates(self, n: int, seed: int) -> tuple[list[Any], Tensor]:
        with seeded(generator(seed, "ask")) as lent:
            return self.asked(self.library, n, lent)

    def _shown(self, x: Tensor, y: Tensor) -> None:
        with seeded(generator(0, "show")):
            self.shown(self.library, self.to_vectors(x).tolist(), y.tolist())

    def _told(self, handles: list[Any], y: Tensor, seed: int) -> None:
        with seeded(generator(seed, "tell")):
            self.told(self.library, handles, y.tolist())

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"seeds": self.seeds}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`; the rounds so far are asked for and told again."""
        super().load_state_dict(state)
        self.seeds = list(state["seeds"])
        self._replay()
