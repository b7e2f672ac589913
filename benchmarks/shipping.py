"""What an archive should recommend: the same searches under several rules, a table for docs/metrics.md.

    python benchmarks/shipping.py cma_es hartmann_6 nav1d_partial
    python benchmarks/shipping.py genetic hartmann_6 nav1d_partial tfbind8 molecule_qed
    python benchmarks/shipping.py turbo hartmann_6
    python benchmarks/shipping.py cma_es airfoil --seeds 0 1 2 3 4

Every rule gives the m designs that are recommended after a round; what is queried is the same. Mean `score` over seeds,
by default two that no report uses; validity and mean score of what is recommended at the end.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from bbo_bench import run
from bbo_bench.archive import ArchiveOptimizer

BUDGET = (64, 128, 256, 512)
SHIPPED = ArchiveOptimizer.recommend


def half(optimizer: ArchiveOptimizer, n: int) -> Tensor:
    """Half of what is known, as far as there is so much, and for the rest what would be asked for next."""
    known = min(n // 2, len(torch.unique(optimizer.x, dim=0)))
    return torch.cat([SHIPPED(optimizer, known), optimizer.ask(n - known)])


RULES: dict[str, Callable[[ArchiveOptimizer, int], Tensor]] = {
    "queried, then next": SHIPPED,
    "half of each": half,
    "all next": lambda optimizer, n: optimizer.ask(n),
    "queried, repeated": lambda optimizer, n: SHIPPED(optimizer, n) if len(optimizer.x) >= n else optimizer.top(n),
}


def main() -> None:
    """Print a row per task and rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizer")
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1001, 1002])
    arguments = parser.parse_args()
    for task in arguments.tasks:
        for rule, recommend in RULES.items():
            ArchiveOptimizer.recommend = recommend  # type: ignore[method-assign]
            ends = pd.DataFrame([played(task, arguments.optimizer, seed) for seed in arguments.seeds]).mean()
            numbers = ", ".join(f"{name} {ends[name]:.3f}" for name in ("score", "validity", "reward_mean"))
            print(f"{task}, {rule}: {numbers}", flush=True)


def played(task: str, optimizer: str, seed: int) -> "pd.Series[float]":
    """The last metrics of a run that is not kept."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(task, optimizer, folder=Path(folder, "run"), budget=BUDGET, validation=0, seed=seed)
    return found.iloc[-1]


if __name__ == "__main__":
    main()
