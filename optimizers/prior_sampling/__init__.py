"""Fresh samples of the prior, round after round: what every optimizer must beat."""

from __future__ import annotations

from torch import Tensor

from bbo_bench.core import Optimizer, State

__all__ = ["PriorSampling"]


class PriorSampling(Optimizer):
    """Asks and ships samples of the prior, and learns nothing."""

    needs_scores = False

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        prior = self.problem.prior
        return prior.decode(prior.sample(n, self.rng))

    def tell(self, x: Tensor, y: Tensor) -> None:
        """Nothing is learned from `n x shape` designs and their `n` scores."""

    def recommend(self, n: int) -> Tensor:
        """See `Optimizer.recommend`."""
        return self.ask(n)

    def state_dict(self) -> State:
        """Empty, as nothing is learned."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """There is nothing to take up."""
