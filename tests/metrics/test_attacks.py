"""Attacks on the main score by designs of the committed runs: copies, mixtures and invalid designs do not raise it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bbo_bench import load_task
from bbo_bench.card import sampled
from bbo_bench.core import Task
from bbo_bench.metrics.distinct import distinct, distinct_top, quality, slots, spacing
from bbo_bench.metrics.naturalness import distances
from bbo_bench.oracle import finite, true_scores
from bbo_bench.seeding import generator

RESULTS = Path(__file__).parents[2] / "results"
RUNS = {
    "airfoil": ("standard", "prior_sampling cma_es sqdf grpo rwr svdd"),
    "tfbind8": ("families", "prior_sampling sqdf ddpo genetic turbo"),
    "rna": ("families", "prior_sampling sqdf ddpo genetic turbo"),
    "molecule": ("families", "prior_sampling sqdf ddpo genetic turbo"),
    "hartmann_6": ("attacks", "prior_sampling sqdf genetic cma_es"),
}
M = 256
K = slots(M)
CLUSTERS = 6
MEDIOCRE = 0.1
"""A quality that some of the prior's designs have."""
JITTER = 0.2
"""Of the spacing: jittered copies of one design are then less than the spacing apart."""


@dataclass(frozen=True)
class Judged:
    """`n` designs with all that the score depends on; rows can be chosen, and repeated."""

    x: Tensor
    canonical: Tensor
    features: Tensor
    y: Tensor
    valid: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> Judged:
        return Judged(*(each[rows] for each in vars(self).values()))


def joined(*parts: Judged) -> Judged:
    return Judged(*map(torch.cat, zip(*(vars(part).values() for part in parts), strict=True)))


class Arena:
    """A task, what runs on it recommend at the end, the prior's designs, real ones and random ones."""

    def __init__(self, task: Task, shipped: dict[str, Tensor]) -> None:
        self.task = task
        real = task.reference()
        self.spacing = spacing(task.features(real).double(), K)
        self.shipped = {name: self.judged(x) for name, x in shipped.items()}
        self.prior = self.judged(sampled(task.prior(), M, generator(0, "attacks")))
        self.data = self.judged(real[torch.randperm(len(real), generator=generator(0, "data"))[:M]])
        self.random = self.judged(task.domain.sample(M, generator(0, "random")))
        whole = joined(*self.shipped.values())
        self.ranked = whole[whole.y.argsort(descending=True, stable=True)]

    def judged(self, x: Tensor) -> Judged:
        y = finite(self.task, true_scores(self.task, x))
        return Judged(x, self.task.canonical(x), self.task.features(x).double(), y, self.task.valid(x))

    def found(self, designs: Judged) -> Tensor:
        """Qualities of the distinct valid designs."""
        few = designs[designs.valid]
        kept = distinct(few.canonical, few.features, few.y, self.spacing)
        return quality(kept, self.task.y_prior, self.task.best_known)

    def value(self, designs: Judged) -> float:
        return distinct_top(self.found(designs), K)

    @cached_property
    def six(self) -> Judged:
        """The best valid designs that are mutually twice the spacing apart."""
        best, kept = self.ranked[self.ranked.valid], [0]
        for i, far in enumerate(distances(best.features, best.features) >= 2 * self.spacing):
            if len(kept) < CLUSTERS and bool(far[kept].all()):
                kept.append(i)
        return best[kept]

    @cached_property
    def clusters(self) -> Judged:
        """Copies of the six that differ from them by less than half the spacing; where none can, plain copies."""
        copies = self.six[torch.arange(M) % len(self.six)]
        rng, x = generator(0, "jitter"), copies.x
        if x.is_floating_point():
            step = 1e-4 * torch.randn(x.shape, generator=rng).to(x)
            moved = (self.task.features(x + step).double() - copies.features).norm(dim=1)
            near = self.task.domain.clamp(x + step * (JITTER * self.spacing / moved)[:, None].to(x))  # type: ignore[attr-defined]
        else:
            place = torch.randint(x.shape[1], (M, 1), generator=rng)
            near = x.scatter(1, place, torch.randint(self.task.domain.size, (M, 1), generator=rng))  # type: ignore[attr-defined]
        apart = (self.task.features(near).double() - copies.features).norm(dim=1)
        return self.judged(torch.where((apart < self.spacing / 2)[:, None], near, x))

    @cached_property
    def attacks(self) -> dict[str, tuple[Judged, int]]:
        """Sets of `M` designs, and how many distinct good ones there are in each beside samples of the prior."""
        copies, half = self.ranked[self.ranked.valid][torch.zeros(M, dtype=torch.long)], M // 2
        found = {
            "copies": (copies, 1),
            "half copies, half prior": (joined(copies[:half], self.prior[:half]), 1),
            "80% copies, 20% prior": (joined(copies[: M - M // 5], self.prior[: M // 5]), 1),
            "20% copies, 80% prior": (joined(copies[: M // 5], self.prior[M // 5 :]), 1),
            "six clusters": (self.clusters, len(self.six)),
            "six clusters, half prior": (joined(self.clusters[:half], self.prior[:half]), len(self.six)),
        }
        for name, each in (("random", self.random), ("high-scoring", self.ranked)):
            if len(invalid := each[~each.valid]):
                invalid = invalid[torch.arange(M) % len(invalid)]
                found[f"{name} invalid"] = (invalid, 0)
                found[f"{name} invalid, half prior"] = (joined(invalid[:half], self.prior[:half]), 0)
        return found


SLOW = ("rna", "molecule")
"""Tasks whose oracles take half a minute to judge all designs."""


@pytest.fixture(
    scope="module", params=[pytest.param(task, marks=pytest.mark.slow if task in SLOW else ()) for task in RUNS]
)
def arena(request: pytest.FixtureRequest) -> Arena:
    experiment, optimizers = RUNS[request.param]
    shipped = {}
    for name in optimizers.split():
        kept = RESULTS / experiment / request.param / name
        folder = min(kept.glob("seed_*/designs.npz")).parent  # the first seed whose designs are kept
        arrays = {key: x for file in folder.glob("*.npz") for key, x in np.load(file).items()}
        shipped[name] = torch.as_tensor(arrays["recommended_3"])
    return Arena(load_task(request.param), shipped)


def test_an_attack_is_worth_its_few_good_designs_and_no_more(arena: Arena) -> None:
    prior = arena.value(arena.prior)
    for name, (designs, few) in arena.attacks.items():
        assert len(designs) == M
        bound = few / K + (prior if "prior" in name else 0)
        assert arena.value(designs) <= bound + 1e-9, name


def test_an_attack_is_below_every_method_whose_designs_are_many(arena: Arena) -> None:
    """Many: more than a sample of the prior has, and three times as many half as good as the attack's good ones."""
    found = {name: arena.found(x) for name, x in arena.shipped.items()}
    prior = int((arena.found(arena.prior) >= MEDIOCRE).sum())
    richer = [q for q in found.values() if int((q >= MEDIOCRE).sum()) > prior]
    for name, (designs, few) in arena.attacks.items():
        level = max(float(arena.found(designs)[few - 1]) / 2 if few else 0, MEDIOCRE)
        for q in (q for q in richer if int((q >= level).sum()) >= 3 * few):
            assert arena.value(designs) < distinct_top(q, K), name
    assert richer


def test_invalid_designs_are_worth_nothing(arena: Arena) -> None:
    assert arena.random.valid.all() or arena.value(arena.attacks["random invalid"][0]) == 0
    assert arena.ranked.valid.all() or arena.value(arena.attacks["high-scoring invalid"][0]) == 0


def test_data_and_prior_come_before_no_run_that_has_learnt(arena: Arena) -> None:
    """All molecules of the data are drug-like: what is recommended there is as good, and no better."""
    start = max(map(arena.value, (arena.data, arena.prior)))
    best = max(map(arena.value, arena.shipped.values()))
    assert start < best or type(arena.task).__name__ == "Molecule"
