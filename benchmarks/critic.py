"""How far implicit Q-learning's values are from dynamic programming, by its settings: `python benchmarks/critic.py`.

On the random policy's data of `nav1d_full`, whose expectile values are known. The authors' settings (Kostrikov et al.
2022) are of a million updates on long episodes; here are thousands, on 32 steps. Writes `results/critic.csv`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bbo_bench import load_task
from bbo_bench.seeding import generator
from bbo_bench.surrogate.critic import IQL
from bbo_bench.tasks.nav1d.data import observed
from bbo_bench.tasks.nav1d.environment import HORIZON
from bbo_bench.tasks.nav1d.planning import expectile_values

AUTHORS: dict[str, Any] = {"width": 256, "learning_rate": 3e-4, "target_rate": 0.005, "batch_size": 256}
SETTINGS: dict[str, dict[str, Any]] = {
    "ours": {},
    "width 256": {"width": 256},
    "learning rate 3e-4": {"learning_rate": 3e-4},
    "target rate .005": {"target_rate": 0.005},
    "batches of 256": {"batch_size": 256},
    "discount .99": {"discount": 0.99},
    "the authors', but the discount": AUTHORS,
    "the same, 50,000 updates": AUTHORS | {"updates": 50_000},
    "ours, 50,000 updates": {"updates": 50_000},
}
SEEDS = 3


def main(out: Path) -> None:
    """Train, compare, and write a row per setting and seed."""
    torch.set_num_threads(1)
    task = load_task("nav1d_full")
    problem = task.problem((64,), torch.device("cpu"))
    s, expected = expectile_values(IQL().expectile)
    observation = observed(s.float()[:, None].expand(-1, HORIZON)).flatten(0, 1)
    z, y = problem.prior.encode(task.reference()), task.evaluate(task.reference()).float()
    rows = []
    for name, settings in SETTINGS.items():
        for seed in range(SEEDS):
            start = time.perf_counter()
            critic = IQL(**settings)
            critic.bind(problem)
            critic.fit(z, y, generator(seed, "critic"))
            seconds = time.perf_counter() - start
            with torch.no_grad():
                error = (critic.value(observation).reshape(expected.shape).double() - expected).square().mean(0).sqrt()
            relative = float(error.mean() / expected.std(0).mean())
            rows.append(
                {"setting": name, "seed": seed, "error": relative, "first": float(error[0]), "seconds": seconds}
            )
            print(rows[-1], flush=True)
            pd.DataFrame(rows).round(4).to_csv(out, index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results/critic.csv"))
