"""What model-guided evolution of sequences shares: an archive, and an ensemble that predicts the scores of mutants."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem, State
from bbo_bench.domains import Sequences
from bbo_bench.surrogate.ensemble import Ensemble


class ModelGuided(ArchiveOptimizer):
    """Asks for what a model, refitted after every round, predicts to score highest among new sequences.

    A subclass adds `pool`.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        proxy: Makes the model, which reads one-hot vectors.
        predictions: Sequences whose scores are predicted for each one that is asked for.

    Raises:
        ValueError: If `predictions` is below 1.
    """

    domains = (Sequences,)

    def __init__(self, problem: Problem, rng: Generator, *, proxy: Callable[[], Ensemble], predictions: int) -> None:
        super().__init__(problem, rng)
        if predictions < 1:
            raise ValueError(f"expected predictions >= 1, got {predictions=}")
        self.proxy, self.predictions = proxy(), predictions

    @abstractmethod
    def pool(self, n: int) -> Tensor:
        """New sequences, `m x d` in double precision, of which `n` may be asked for, the best first."""

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`; samples of the domain fill up what a pool is short of."""
        u = self.pool(n)[:n]
        filled = torch.cat([u, self.to_vectors(self.domain.sample(n - len(u), self.rng))])
        return self.to_designs(filled)

    def tell(self, x: Tensor, y: Tensor) -> None:
        """See `Optimizer.tell`."""
        super().tell(x, y)
        self.proxy.fit(self.one_hot(self.to_vectors(self.x)), self.y, self.rng)

    def predict(self, x: Tensor) -> Tensor:
        """See `Optimizer.predict`."""
        return self.proxy.predict(self.one_hot(self.to_vectors(x))).detach()

    @torch.no_grad()
    def promise(self, u: Tensor) -> Tensor:
        """Optimistic predictions for `n x d` sequences, an `n`-dim tensor."""
        return self.proxy(self.one_hot(u)) if len(u) else self.y[:0].float()

    def one_hot(self, u: Tensor) -> Tensor:
        """`n x d·size` one-hot vectors of `n x d` sequences."""
        assert isinstance(self.domain, Sequences)
        return nn.functional.one_hot(u.long(), self.domain.size).flatten(1).float()

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"proxy": self.proxy.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        self.proxy.load_state_dict(state["proxy"], self.rng.device)

    def diagnostics(self) -> dict[str, float]:
        """Adds the model's held-out error."""
        return super().diagnostics() | {"proxy_error": self.proxy.error}
