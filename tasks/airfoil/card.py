"""Measure what the card says of data, prior and oracles: `python -m bbo_bench.tasks.airfoil.card`."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from bbo_bench.metrics.naturalness import distances, frechet, precision, recall
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.airfoil import Airfoil

CHECKED = 100
"""Sections that XFoil is run on, of each kind."""


def compared(task: Airfoil, x: Tensor) -> str:
    """How `n x 18` sections compare with as many held-out ones."""
    a, b = task.features(x).double(), task.features(task.reference()).double()
    valid = float(task.valid(x).double().mean())
    return f"frechet {frechet(a, b):.5f} precision {precision(a, b):.3f} recall {recall(a, b):.3f} validity {valid:.3f}"


def nearest(task: Airfoil, x: Tensor) -> float:
    """Median distance in feature space from `n x 18` sections to their nearest training section."""
    return float(distances(task.features(x), task.features(task.training_data())).amin(1).median())


def agreement(task: Airfoil, x: Tensor) -> str:
    """On how many of `n x 18` sections XFoil converges, and how it correlates with NeuralFoil on these."""
    scores = task.validate(x)
    if scores is None:
        return "xfoil is not installed"
    known = scores.isfinite()
    both = torch.stack([scores[known], task.evaluate(x)[known]])
    return f"xfoil converges on {int(known.sum())} of {len(x)}, correlation {float(both.corrcoef()[0, 1]):.3f}"


def main() -> None:
    """Print all figures."""
    settings = {key: value for key, value in find("task", "airfoil").settings.items() if key != "_target_"}
    task = Airfoil(**settings)
    prior, reference, training = task.prior(), task.reference(), task.training_data()
    samples = prior.decode(prior.sample(len(reference), generator(0, "quality")))
    drawn = training[torch.randperm(len(training), generator=generator(0, "card"))[: len(reference)]]
    for name, x in {"prior samples": samples, "training sections": drawn, "held-out sections": reference}.items():
        print(f"{name}: {compared(task, x)} nearest training section {nearest(task, x):.4f}")
    for name, x in {"prior samples": samples, "held-out sections": reference}.items():
        print(f"{name}: {agreement(task, x[:CHECKED])}")
    start = time.perf_counter()
    task.evaluate(training)
    print(f"NeuralFoil: {len(training) / (time.perf_counter() - start):.0f} designs a second")


if __name__ == "__main__":
    main()
