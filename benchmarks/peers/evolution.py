"""`genetic` and `adalead` beside the genetic algorithm of pytorch-holo, on Ehrlich functions of 32 and 128 tokens.

    pip install --no-deps --target build/holo pytorch-holo==0.0.5
    PYTHONPATH=build/holo python benchmarks/peers/evolution.py --seeds 10 --csv results/peers/evolution.csv

All start from the same designs of the prior. 960 queries are the suite's four rounds, or ten of 96; 10,000 are twenty
of 500. The package pins a numpy that the suite does not take, so that it lies in a folder of its own; its algorithm
needs nothing but torch. It goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from harness import Build, compare
from holo.optim import DiscreteEvolution  # type: ignore[import-not-found]
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem, Task
from bbo_bench.domains import Sequences
from bbo_bench.library import ROUNDS, builder, load_task
from bbo_bench.seeding import seeded

BUDGETS = {"960": ROUNDS, "960_even": (96,) * 10, "10000": (500,) * 20}
SURVIVAL = 0.01
"""Share that survives in the package's examples, which have 1,024 particles."""


class Holo(ArchiveOptimizer):
    """The package's own optimizer; what is infeasible is an infinite loss to it, as its own functions give.

    Args:
        task: Which says what is feasible.
        mutation: Probability that a token is drawn anew, 1/L by default.
        recombination: Probability that a token is the second parent's, 1/L by default.
        survival: Share that survives, two sequences at least.
        problem: What may be known.
        rng: Source of all randomness.
    """

    domains = (Sequences,)

    def __init__(
        self,
        task: Task,
        mutation: float | None,
        recombination: float | None,
        survival: float,
        problem: Problem,
        rng: Generator,
    ) -> None:
        super().__init__(problem, rng)
        assert isinstance(problem.domain, Sequences)
        self.task, self.survival, self.size = task, survival, problem.domain.size
        length = problem.domain.shape[0]
        self.mutation, self.recombination = mutation or 1 / length, recombination or 1 / length

    def ask(self, n: int) -> Tensor:
        """A step of the package's algorithm from the last round, or more copies of it where the round is larger."""
        x, y = self.rounds[-1]
        loss = torch.where(self.task.valid(x), -y, torch.inf)
        copies = torch.arange(n) % len(x)
        found = torch.nn.Parameter(x[0].double(), requires_grad=False)
        engine = DiscreteEvolution(
            [found], range(self.size), self.mutation, self.recombination, n, max(self.survival, 2 / n)
        )
        engine.state[found]["particles"] = x[copies].double()
        with seeded(self.rng):
            engine.step(lambda particles: loss[copies])
        asked: Tensor = engine.state[found]["particles"].long()
        return asked


def main() -> None:
    """Make the runs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--csv", type=Path, default=Path("results/peers/evolution.csv"))
    parser.add_argument("--contenders", nargs="+", default=["genetic", "adalead", "holo", "holo_defaults"])
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS))
    arguments = parser.parse_args()
    ours = {"genetic": builder("genetic", {}), "adalead": builder("adalead", {})}
    for length in (32, 128):
        task = load_task(f"ehrlich_{length}")
        known: dict[str, Build] = ours | {
            "holo": partial(Holo, task, None, None, SURVIVAL),
            "holo_defaults": partial(Holo, task, 0.2, 0.5, 0.5),
        }
        settings = {f"ehrlich_{length}, {name}": (task, BUDGETS[name]) for name in arguments.budgets}
        contenders = {name: known[name] for name in arguments.contenders}
        compare(arguments.csv, settings, contenders, arguments.seeds)


if __name__ == "__main__":
    main()
