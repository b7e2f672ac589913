"""Measure how XFoil agrees with NeuralFoil: `python -m bbo_bench.tasks.airfoil.card`."""

from __future__ import annotations

import torch
from torch import Tensor

from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.airfoil import Airfoil

CHECKED = 100
"""Sections that XFoil is run on, of each kind."""


def agreement(task: Airfoil, x: Tensor) -> str:
    """On how many of `n x 18` sections XFoil converges, and how it correlates with NeuralFoil on these."""
    scores = task.validate(x)
    if scores is None:
        return "xfoil is not installed"
    known = scores.isfinite()
    both = torch.stack([scores[known], task.evaluate(x)[known]])
    return f"xfoil converges on {int(known.sum())} of {len(x)}, correlation {float(both.corrcoef()[0, 1]):.3f}"


def main() -> None:
    """Print the agreement on prior samples and on held-out sections."""
    settings = {key: value for key, value in find("task", "airfoil").settings.items() if key != "_target_"}
    task = Airfoil(**settings)
    prior, reference = task.prior(), task.reference()
    samples = prior.decode(prior.sample(len(reference), generator(0, "quality")))
    for name, x in {"prior samples": samples, "held-out sections": reference}.items():
        print(f"{name}: {agreement(task, x[:CHECKED])}")


if __name__ == "__main__":
    main()
