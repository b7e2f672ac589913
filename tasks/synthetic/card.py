"""Measure what `bbo-bench card` does not of a prior of mediocre designs: `python -m bbo_bench.tasks.synthetic.card`."""

from __future__ import annotations

from bbo_bench.diffusion.train import quality
from bbo_bench.seeding import generator
from bbo_bench.tasks.synthetic import Synthetic
from bbo_bench.tasks.synthetic.functions import FUNCTIONS

SAMPLES = 10_000
BORDER = 1e-3
"""Of the unit cube."""


def measure(function: str, dim: int) -> str:
    """How far the prior has come from uniform designs to the data, and what of it lies at the border."""
    task = Synthetic(function, dim, noise_std=0, y_prior=0, best_known=0, infeasible_score=0)
    prior = task.prior()
    x = prior.decode(prior.sample(SAMPLES, generator(0, "y_prior")))
    uniform = task.domain.sample(10 * SAMPLES, generator(0, "uniform"))
    sampled, cube, data = (float(task.evaluate(designs).mean()) for designs in (x, uniform, task.training_data()))
    edge = float(((task.features(x) - 0.5).abs() > 0.5 - BORDER).double().mean())
    same = quality(task, uniform[: len(task.reference())])
    return (
        f"{task.name}: mean score {cube:.5g} of uniform designs, {data:.5g} of the data, {sampled:.5g} of the prior, "
        f"{(sampled - cube) / (data - cube):.0%} of the way; {edge:.2%} of the prior's coordinates at the border; "
        f"uniform designs have precision {same['precision']} and recall {same['recall']}"
    )


def main() -> None:
    """Print a line for every task."""
    for name, function in FUNCTIONS.items():
        for dim in function.dims:
            print(measure(name, dim))


if __name__ == "__main__":
    main()
