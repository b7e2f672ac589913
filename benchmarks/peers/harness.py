"""What comparisons with other libraries share: one loop for all, from the same designs, and a table that goes on."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from bbo_bench.core import Optimizer, Problem, Task
from bbo_bench.device import limited_threads
from bbo_bench.oracle import finite
from bbo_bench.seeding import generator

Build = Callable[[Problem, torch.Generator], Optimizer]


def play(task: Task, build: Build, rounds: Sequence[int], seed: int) -> dict[str, float]:
    """How an optimizer ends: the best true score asked for, the mean of the best 32, and seconds up to the last ask."""
    problem = task.problem(tuple(rounds), torch.device("cpu"))
    optimizer, seen, seconds = build(problem, generator(seed, "build")), [], 0.0
    for i, n in enumerate(rounds):
        start = time.perf_counter()
        optimizer.rng.manual_seed(1000 * seed + i)
        x = optimizer.ask(n) if i else problem.prior.decode(problem.prior.sample(n, generator(seed, "first round")))
        seconds += time.perf_counter() - start
        seen.append(finite(task, task.evaluate(x).double()))
        if i == len(rounds) - 1:
            break
        noise = task.noise_std * torch.randn(n, generator=generator(seed, "noise", i), dtype=torch.double)
        start = time.perf_counter()
        optimizer.rng.manual_seed(1000 * seed + i + 500)
        optimizer.tell(x, seen[-1] + noise)
        seconds += time.perf_counter() - start
    best = torch.cat(seen).sort(descending=True).values
    return {"best": float(best[0]), "best_32": float(best[:32].mean()), "seconds": seconds}


def compare(
    out: Path, settings: Mapping[str, tuple[Task, Sequence[int]]], contenders: Mapping[str, Build], seeds: int
) -> None:
    """A row for every setting, contender and seed, in a CSV file that is gone on with, and a table of medians.

    Args:
        out: The file.
        settings: A task and queries per round, by name.
        contenders: What builds an optimizer, by name.
        seeds: How many.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    done = set() if not out.exists() else {tuple(row) for row in pd.read_csv(out).iloc[:, :3].astype(str).values}
    with limited_threads(1):
        for seed in range(seeds):
            for setting, (task, rounds) in settings.items():
                for name, build in contenders.items():
                    if (setting, name, str(seed)) in done:
                        continue
                    row = {"setting": setting, "optimizer": name, "seed": seed, **play(task, build, rounds, seed)}
                    with out.open("a", newline="") as file:
                        writer = csv.DictWriter(file, list(row))
                        if not file.tell():
                            writer.writeheader()
                        writer.writerow(row)
                    print(row, flush=True)
    print(summary(pd.read_csv(out)).to_string(float_format="{:.4g}".format))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Median, and first and third quartile, of every column, by setting and optimizer."""
    groups = table.drop(columns="seed").groupby(["setting", "optimizer"], sort=False)
    spread = groups.quantile([0.25, 0.5, 0.75]).unstack()
    return spread.assign(seeds=groups.size())
