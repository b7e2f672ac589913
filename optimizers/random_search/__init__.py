"""Random search: uniform designs of the domain; what a search without a prior must beat."""

from __future__ import annotations

from torch import Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.domains import Box, Sequences


class RandomSearch(ArchiveOptimizer):
    """Asks for designs that are uniform in the domain, and ships the best of all that it has queried."""

    domains = (Box, Sequences)

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        return self.domain.sample(n, self.rng)
