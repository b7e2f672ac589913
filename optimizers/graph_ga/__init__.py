"""A genetic algorithm of molecular graphs (Jensen 2019)."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem, UnsuitableError
from bbo_bench.domains import Sequences
from bbo_bench.surrogate.kernels import in_selfies

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["GraphGA"]

LEAST = 8
"""Parents at least."""
TRIES = 50
"""Children that are bred for one that is asked for, at most."""


class GraphGA(ArchiveOptimizer):
    """Breeds molecules by crossover and edits of their graphs, not of the strings that write them.

    A child that designs have no tokens for, or that has been queried in any spelling, is not asked for.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        parents: Share of a round that is kept as parents of the next, `LEAST` at least.
        crossover: Probability that a child is of two parents.
        mutation: Probability that a child of two parents is edited; one of a single parent always is.

    Raises:
        UnsuitableError: If designs are no molecules in SELFIES.
        ValueError: If a setting is out of range.
    """

    domains = (Sequences,)

    def __init__(self, problem: Problem, rng: Generator, *, parents: float, crossover: float, mutation: float) -> None:
        super().__init__(problem, rng)
        assert isinstance(self.domain, Sequences)
        if not in_selfies(self.domain.alphabet):
            raise UnsuitableError(f"{type(self).__name__} breeds molecules in SELFIES, got other sequences")
        if not (0 < parents <= 1 and 0 <= crossover <= 1 and 0 <= mutation <= 1):
            raise ValueError(
                f"expected shares in [0, 1], and parents above 0, got {parents=}, {crossover=}, {mutation=}"
            )
        self.parents, self.crossover, self.mutation = parents, crossover, mutation

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`; samples of the prior fill up what breeding is short of."""
        children = self._children(n)
        missing = n - len(children)
        filled = self.problem.prior.decode(self.problem.prior.sample(missing, self.rng)) if missing else self.x[:0]
        return torch.cat([*(child[None].to(self.x.device) for child in children), filled])

    def _children(self, n: int) -> list[Tensor]:
        """Up to `n` designs that are new molecules."""
        from rdkit import rdBase

        from bbo_bench.smiles import molecule, smiles

        assert isinstance(self.domain, Sequences)
        random = Random(int(torch.randint(2**31 - 1, (), generator=self.rng, device=self.rng.device)))
        known = set(map(smiles, self.domain.text(self.x)))
        best = self.top(max(LEAST, round(self.parents * len(self.rounds[-1][0]))))
        parents = [found for text in self.domain.text(best) if (found := molecule(text)) is not None]
        children: list[Tensor] = []
        with rdBase.BlockLogs():
            for _ in range(TRIES * n if parents else 0):
                x = self._child(random.choice(parents), random.choice(parents), random)
                if x is None or (name := smiles(self.domain.text(x[None])[0])) in known:
                    continue
                known.add(name)
                children.append(x)
                if len(children) == n:
                    break
        return children

    def _child(self, one: Mol, other: Mol, random: Random) -> Tensor | None:
        """A design of one molecule or of two; None where there is none."""
        from bbo_bench.optimizers.graph_ga.edits import crossed, edited
        from bbo_bench.smiles import design

        assert isinstance(self.domain, Sequences)
        mated = random.random() < self.crossover
        child = crossed(one, other, random) if mated else one
        if child is not None and (not mated or random.random() < self.mutation):
            child = edited(child, random)
        if child is None:
            return None
        try:
            return design(self.domain, child)
        except ValueError:  # no tokens for it, or too many
            return None
