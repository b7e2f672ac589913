"""Find the constants `y_prior` and `best_known` of the tasks: `python -m bbo_bench.tasks.airfoil.best_known NAME...`.

`best_known` comes from CMA-ES, started from each of the best valid airfoils of the database, on the score minus a
penalty for what keeps a design from being valid. A task takes about a million queries, which cost nothing here. The
designs found are kept in best_known.npz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cma
import numpy as np
import torch
from hydra.utils import instantiate
from torch import Tensor

from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.airfoil import Airfoil
from bbo_bench.tasks.airfoil.geometry import thickness

DESIGNS = Path(__file__).with_name("best_known.npz")
PRIOR_SAMPLES = 10_000
STARTS, POPULATION, GENERATIONS = 3, 200, 800
SIGMA = 0.3
"""Initial step, in standard deviations of the data."""
PENALTY = 10.0


def y_prior(task: Airfoil) -> float:
    """Mean true score of 10,000 samples of the prior."""
    prior = task.prior()
    z = prior.sample(PRIOR_SAMPLES, generator(0, "y_prior"))
    return float(task.evaluate(prior.decode(z)).mean())


def violation(task: Airfoil, x: Tensor) -> Tensor:
    """How far `n x 18` designs are from being valid, an `n`-dim tensor."""
    section, limits = thickness(x), task.limits
    deepest = section.amax(1)
    excess = (
        limits.confidence - task.flow(x).confidence,
        -section.amin(1),
        limits.thinnest - deepest,
        deepest - limits.thickest,
    )
    return torch.stack(excess).clamp(min=0).sum(0)


def search(task: Airfoil, start: Tensor, scale: Tensor, seed: int) -> tuple[Tensor, float]:
    """The best valid design that a run of CMA-ES from `start` meets, and its score."""
    best, best_score = start, float(task.evaluate(start[None]))
    bounds = [(bound / scale).tolist() for bound in (task.domain.lower, task.domain.upper)]
    options = {"bounds": bounds, "popsize": POPULATION, "maxiter": GENERATIONS, "seed": seed, "verbose": -9}
    es = cma.CMAEvolutionStrategy((start / scale).tolist(), SIGMA, options)
    while not es.stop():
        proposals = es.ask()
        x = task.domain.clamp(torch.as_tensor(np.array(proposals), dtype=scale.dtype) * scale)
        score = task.evaluate(x)
        es.tell(proposals, (PENALTY * violation(task, x) - score).tolist())
        score[~task.valid(x)] = -torch.inf
        if score.max() > best_score:
            best, best_score = x[score.argmax()], float(score.max())
    return best, best_score


def best_known(task: Airfoil) -> tuple[Tensor, float]:
    """The best of the searches from the best valid airfoils of the data, and its score."""
    data = task.training_data()
    data = data[task.valid(data)]
    starts = data[task.evaluate(data).topk(STARTS).indices]
    return max((search(task, x, data.std(0), seed + 1) for seed, x in enumerate(starts)), key=lambda found: found[1])


def main() -> None:
    """Print the constants of the named tasks, and keep the designs."""
    designs = dict(np.load(DESIGNS)) if DESIGNS.exists() else {}
    for name in sys.argv[1:]:
        task = instantiate(find("task", name).settings)
        x, score = best_known(task)
        print(f"{name}: y_prior {y_prior(task):.3f}, best_known {score:.3f}, by XFoil {task.validate(x[None])}")
        designs[name] = x.numpy()
        np.savez_compressed(DESIGNS, **designs)


if __name__ == "__main__":
    main()
