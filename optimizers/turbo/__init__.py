"""TuRBO-1 (Eriksson et al. 2019): Thompson sampling in one trust region, from BoTorch's parts."""

from __future__ import annotations

import math

import torch
from botorch.utils.sampling import draw_sobol_samples
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.domains import Box, Sequences
from bbo_bench.scale import Scale
from bbo_bench.seeding import seeded
from bbo_bench.surrogate.gp import GPOptimizer, jittered

__all__ = ["Turbo"]

MANY = 10
"""Rounds in which a trust region of the paper's size can become as small as it must."""

IMPROVEMENT = 1e-3
"""Least rise of the best score that counts, in standard deviations of the search's first round; TuRBO's own unit, the
best score itself, is another one for every offset of the scores."""


class Turbo(GPOptimizer):
    """Draws functions from the posterior and asks for their maximizers within a box around the best design.

    The box has the sides L·λ_i/(∏λ_j)^(1/d) with the kernel's lengthscales λ; for sequences it is a Hamming ball, of
    radius L times their length (as in CASMOPOLITAN, Wan et al. 2021). `successes` improving rounds in a row double L,
    rounds without improvement halve it once they have max(4, d) designs. Below `length_min` the search
    starts again from samples of the prior. All of it follows from the told scores.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        length: Initial L, in units of 5 standard deviations of round 0 (of the unit cube without `whiten`; of a
            sequence's length). None is the paper's .8 where there are `MANY` rounds or more, and else a half, as few
            rounds leave no time to halve it.
        length_min: L at which the search starts again.
        length_max: Largest L.
        successes: Improving rounds in a row that double L.
        chunk: Draws that share one set of candidates.
        whiten: See `GPOptimizer`.
        tanimoto: See `GPOptimizer`.
        max_points: See `GPOptimizer`.
        fit_steps: See `GPOptimizer`.

    Raises:
        ValueError: If a setting is out of range.
    """

    domains = (Box, Sequences)

    first: int
    best: float
    length: float
    run: int

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        length: float | None,
        length_min: float,
        length_max: float,
        successes: int,
        chunk: int,
        whiten: bool | None,
        tanimoto: bool | None,
        max_points: int,
        fit_steps: int,
    ) -> None:
        super().__init__(problem, rng, whiten=whiten, tanimoto=tanimoto, max_points=max_points, fit_steps=fit_steps)
        if length is None:
            length = 0.8 if len(problem.budget) >= MANY else 0.5
        if not (0 < length_min <= length <= length_max and min(successes, chunk) >= 1):
            got = f"{length_min=}, {length=}, {length_max=}, {successes=}, {chunk=}"
            raise ValueError(
                f"expected 0 < length_min <= length <= length_max, successes >= 1 and chunk >= 1, got {got}"
            )
        self.length_init, self.length_min, self.length_max = length, length_min, length_max
        self.successes, self.chunk = successes, chunk
        self._restart(0)

    @property
    def starts(self) -> bool:
        """Whether nothing is known of the trust region."""
        return self.first == len(self.rounds)

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`; samples of the prior where the search starts again."""
        if self.starts:
            return self.problem.prior.decode(self.problem.prior.sample(n, self.rng))
        return super().ask(n)

    def propose(self, n: int) -> Tensor:
        """Maximizers of `n` posterior draws, each over the candidates of its chunk."""
        return self.drawn(n)[0]

    def drawn(self, n: int) -> tuple[Tensor, Tensor]:
        """`n x d` maximizers of as many posterior draws, and what was drawn there, an `n`-dim tensor of scores."""
        own = self.axes(self.to_vectors(torch.cat([x for x, _ in self.rounds[self.first :]])))
        center = own[self.mean(own).argmax()]
        v, drawn = own[:0], own[:0, 0]
        with seeded(self.rng), torch.no_grad(), jittered():
            while len(v) < n:
                candidates = self._candidates(center, v)
                k = min(self.chunk, n - len(v), len(candidates))
                draws = self.gp.posterior(candidates).rsample(torch.Size([k])).squeeze(-1)
                best = maximizers(draws)
                v, drawn = torch.cat([v, candidates[best]]), torch.cat([drawn, draws[torch.arange(k), best]])
        return v, self.scale.inverse(drawn)

    def _candidates(self, center: Tensor, chosen: Tensor) -> Tensor:
        """Up to 5000 points of the trust region, `n x d`, about 20 coordinates of each off its center."""
        n = max(self.chunk, min(200 * len(center), 5000), 2000)
        if isinstance(self.domain, Sequences):
            return self._mutants(center, chosen, n, self.domain.size)
        return self._sobol(center, n)

    def _sobol(self, center: Tensor, n: int) -> Tensor:
        """`n x d` Sobol points of the box around the center."""
        d = len(center)
        weight = self.lengthscale().log()
        side = self.length * (weight - weight.mean()).exp()
        corners = torch.stack([center - side / 2, center + side / 2])
        if not self.whitened:  # along other axes the box has other corners
            low, high = self.axes(torch.stack([torch.zeros_like(center), torch.ones_like(center)]))
            corners = corners.clamp(low, high)
        sobol = draw_sobol_samples(corners, n, q=1).squeeze(1)
        moved = torch.rand(n, d) < min(20 / d, 1)
        moved[torch.arange(n), torch.randint(d, (n,))] = True
        return self.within(torch.where(moved.to(center.device), sobol, center))

    def _mutants(self, center: Tensor, chosen: Tensor, n: int, size: int) -> Tensor:
        """Up to `n x d` sequences of the Hamming ball around the center, neither told nor `chosen` before.

        The ball grows where it has too few of them; where all sequences are known, known ones do.
        """
        d = len(center)
        for radius in range(max(1, round(self.length * d)), d + 1):
            count = 1 + (torch.rand(n, 1) * min(radius, 20)).floor()
            moved = torch.rand(n, d).argsort(1).argsort(1) < count
            other = (center.cpu() + torch.randint(1, size, (n, d))) % size
            new = self.unseen(torch.where(moved, other, center.cpu()).to(center), chosen)
            if len(new) >= min(self.chunk, n):
                return new
        anywhere = torch.randint(size, (n, d)).to(center)
        new = self.unseen(anywhere, chosen)
        return new if len(new) else anywhere

    def update(self) -> None:
        """Fit the process, and derive the trust region from the scores of all rounds."""
        super().update()
        self._restart(0)
        for i, (x, y) in enumerate(self.rounds):
            top = float(y.max())
            if i > self.first:
                least = IMPROVEMENT * float(Scale.of(self.rounds[self.first][1]).std)
                self._resize(top > self.best + least, len(x), x[0].numel())
            self.best = max(self.best, top)
            if self.length < self.length_min:
                self._restart(i + 1)

    def _restart(self, first: int) -> None:
        """A new trust region, whose own designs start in round `first`."""
        self.first = first
        self.best = -math.inf
        self.length = self.length_init
        self.run = 0  # improving rounds in a row, or designs of failed ones, counted negative

    def _resize(self, success: bool, n: int, d: int) -> None:
        """Count a round of `n x d` designs, and double or halve L where the counter is full."""
        self.run = max(self.run, 0) + 1 if success else min(self.run, 0) - n
        if self.run >= self.successes or -self.run >= max(4, d):
            self.length = min(2 * self.length, self.length_max) if success else self.length / 2
            self.run = 0

    def diagnostics(self) -> dict[str, float]:
        """Adds `length`, the L of the trust region."""
        return super().diagnostics() | {"length": self.length}


def maximizers(draws: Tensor) -> Tensor:
    """Where each of `k x m` functions is largest, a `k`-dim tensor of indices; none of the `m` points twice."""
    taken, found = torch.zeros_like(draws[0]), []
    for draw in draws:
        best = (draw + taken).argmax()
        taken[best] = -torch.inf
        found.append(best)
    return torch.stack(found)
