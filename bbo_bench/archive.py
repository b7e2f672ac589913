"""What optimizers of the raw design space share: an archive of all queried designs, and designs as vectors."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from bbo_bench.core import Domain, Optimizer, Problem, State, UnsuitableError
from bbo_bench.domains import Box, Captioned, Sequences
from bbo_bench.metrics.distinct import slots, spacing

LED = 4
"""Recommended designs for one that leads them."""


class ArchiveOptimizer(Optimizer):
    """Keeps every told design and ships the best of them. Its state is these data alone.

    A subclass adds `ask`, and `update` where it has something to learn: `update` must follow from the archive, as
    `load_state_dict` calls it once more.

    Args:
        problem: What may be known.
        rng: Source of all randomness.

    Attributes:
        domains: The kinds of domain that it can search.

    Raises:
        UnsuitableError: If the domain is of another kind.
    """

    domains: ClassVar[tuple[type[Domain], ...]] = (Box,)

    def __init__(self, problem: Problem, rng: Generator) -> None:
        super().__init__(problem, rng)
        if isinstance(problem.domain, Captioned):
            raise UnsuitableError(
                f"{type(self).__name__} ships designs of an archive, which has none for prompts that were never asked "
                "for: choose a method that makes designs, as sqdf or prior_sampling do"
            )
        if not isinstance(problem.domain, self.domains):
            searched = "a " + " or ".join(domain.__name__ for domain in self.domains)
            raise UnsuitableError(
                f"{type(self).__name__} searches {searched}, got the domain {type(problem.domain).__name__}"
            )
        self.domain = problem.domain
        self.rounds: list[tuple[Tensor, Tensor]] = []

    @property
    def x(self) -> Tensor:
        """`n x shape` designs told so far, oldest first."""
        return torch.cat([x for x, _ in self.rounds])

    @property
    def y(self) -> Tensor:
        """`n` noisy scores of these designs."""
        return torch.cat([y for _, y in self.rounds])

    def tell(self, x: Tensor, y: Tensor) -> None:
        """See `Optimizer.tell`."""
        self.rounds.append((x.clone(), y.clone()))
        self.update()

    def update(self) -> None:
        """Learn from the archive, after it has grown or has been loaded; nothing by default."""

    def recommend(self, n: int) -> Tensor:
        """The `n` best queried designs, best first, up to a quarter of them as unlike each other as round 0 is.

        Where fewer are known, what it would ask for next follows them.
        """
        x, y = self._ranked()
        if len(x) < n:
            return torch.cat([x, self.ask(n - len(x))])
        leading = self._leading(x, y, n)
        return x[leading | ((~leading).cumsum(0) <= n - leading.sum())]

    def top(self, n: int) -> Tensor:
        """The `n` distinct queried designs of the highest scores, best first; repeated where there are fewer."""
        x, _ = self._ranked()
        return x[torch.arange(n, device=x.device) % len(x)]

    def _ranked(self) -> tuple[Tensor, Tensor]:
        """All distinct queried designs, best first, and their scores: where one was queried again, the mean."""
        x, index = torch.unique(self.x, dim=0, return_inverse=True)
        y = self.y.new_zeros(len(x)).scatter_reduce(0, index, self.y, "mean", include_self=False)
        order = y.argsort(descending=True, stable=True)
        return x[order], y[order]

    def _leading(self, x: Tensor, y: Tensor, n: int) -> Tensor:
        """Which of `m x shape` designs, best first, lead the `n` that are recommended, `m` bools.

        From the best on, designs better than round 0 was on average, as far from each that leads already as those of
        round 0 are from each other (`spacing`): where a search has closed in on one design, the best `n` are copies of
        it, and of another as good in its way nothing would be known. Distances are in standard deviations of round 0,
        or count the places at which sequences differ.
        """
        begun, begun_y = self.rounds[0]
        leading = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        known = torch.cat([begun, x])
        if isinstance(self.domain, Sequences):
            u = one_hot(known, self.domain.size).flatten(1).double()
        else:
            u = self.to_vectors(known)
            std = u[: len(begun)].std(0, correction=0)
            u = u[:, std > 0] / std[std > 0]
        try:
            least = spacing(u[: len(begun)], slots(n))
        except ValueError:  # round 0 has no two designs that differ
            return leading
        u = u[len(begun) :]
        free = (y > begun_y.mean()).to(u.device)
        for _ in range(n // LED):  # row by row: all distances of 15,360 designs would take 2 GB
            if not free.any():
                break
            first = free.byte().argmax()
            leading[first] = True
            free &= (u - u[first]).norm(dim=1) >= least
        return leading

    def to_vectors(self, x: Tensor) -> Tensor:
        """`n x d` vectors, in double precision, of `n x shape` designs: points of a box's unit cube, or tokens."""
        u = self.domain.normalize(x).flatten(1) if isinstance(self.domain, Box) else x
        return (u.cpu() if u.device.type == "mps" else u).double()

    def to_designs(self, u: Tensor) -> Tensor:
        """`n x shape` designs of `n x d` vectors; points outside the unit cube are moved to its border."""
        if isinstance(self.domain, Sequences):
            return u.to(self.rng.device, torch.long)
        assert isinstance(self.domain, Box)
        return self.domain.unnormalize(u.to(self.domain.lower).reshape(len(u), *self.domain.shape))

    def uniform(self, like: Tensor) -> Tensor:
        """Random numbers in [0, 1) of the shape of `like`."""
        return torch.rand(like.shape, generator=self.rng, device=self.rng.device).to(like)

    def mutated(self, u: Tensor, expected: float) -> Tensor:
        """`n x d` sequences with tokens replaced by any others, one at least and `expected` of them on average."""
        d = u.shape[1]
        places = self.uniform(u) < (expected - 1) / max(d - 1, 1)
        places |= torch.arange(d, device=u.device) == (self.uniform(u[:, :1]) * d).floor()
        return self.replaced(u, places)

    def replaced(self, u: Tensor, places: Tensor) -> Tensor:
        """`n x d` sequences whose tokens in these `n x d` places are others, each of them as likely."""
        assert isinstance(self.domain, Sequences)
        size = self.domain.size
        return torch.where(places, (u + 1 + (self.uniform(u) * (size - 1)).floor()) % size, u)

    def unseen(self, u: Tensor, also: Tensor | None = None) -> Tensor:
        """Those of `n x d` vectors, without repetition, whose designs have not been told, and are not `also` given."""
        seen = self.to_vectors(self.x)
        return u[novel(u, seen if also is None else torch.cat([seen, also]))]

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return {"rounds": [[x, y] for x, y in self.rounds]}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        self.rounds = [(x.to(self.rng.device), y.to(self.rng.device)) for x, y in state["rounds"]]
        if self.rounds:
            self.update()

    def diagnostics(self) -> dict[str, float]:
        """`best_observed`: the highest noisy score so far."""
        return {"best_observed": float(self.y.max())}


def novel(x: Tensor, known: Tensor) -> Tensor:
    """Which of `n x shape` rows are not among `m x shape` known ones, nor repeat an earlier one: `n` bools."""
    both = torch.cat([known, x])
    return (_first_equal(both) == torch.arange(len(both), device=x.device))[len(known) :]


def places(x: Tensor, known: Tensor) -> Tensor:
    """Where `n x shape` rows stand among `m x shape` known ones, `n` numbers: -1 where a row is not among them.

    Rows that are all the known ones in their order stand where they are; else equal ones stand where the first does.
    """
    if torch.equal(x, known):
        return torch.arange(len(x), device=x.device)
    at = _first_equal(torch.cat([known, x]))[len(known) :]
    return torch.where(at < len(known), at, -1)


def _first_equal(x: Tensor) -> Tensor:
    """Where the first row stands that is equal to each of `n x shape` rows, `n` numbers."""
    _, group = torch.unique(x, dim=0, return_inverse=True)
    first = torch.full_like(group, len(x)).scatter_reduce(0, group, torch.arange(len(x)).to(group), "amin")
    return first[group]
