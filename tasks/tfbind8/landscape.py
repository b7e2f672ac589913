"""Measure what the card says of landscapes and priors: `python -m bbo_bench.tasks.tfbind8.landscape`.

The tables are complete, so what is said of a landscape holds for all 65,536 sequences and is no estimate.
"""

from __future__ import annotations

import torch
from hydra.utils import instantiate
from torch import Tensor

from bbo_bench.card import sampled
from bbo_bench.diffusion.consistency import consistency_model
from bbo_bench.metrics.naturalness import precision
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.tfbind8 import TFBind8
from bbo_bench.tasks.tfbind8.dna import OCTAMERS, POWERS, octamers

NAMES = ("tfbind8", "tfbind8_egr2", "tfbind8_foxc1")
SAMPLES = 10_000
BINDER = 0.9


def neighbours() -> Tensor:
    """`65536 x 24` ranks of the sequences that differ from each in one letter."""
    x = octamers()
    digits = (x[:, :, None] + torch.arange(1, OCTAMERS.size)) % OCTAMERS.size
    return (torch.arange(len(x))[:, None, None] + (digits - x[:, :, None]) * POWERS[:, None]).flatten(1)


def ascent(scores: Tensor) -> tuple[int, Tensor]:
    """How many sequences no substitution improves, and the scores that steepest ascent reaches from everywhere."""
    around = neighbours()
    best, place = scores[around].max(1)
    start = torch.arange(len(scores))
    step = torch.where(best > scores, around.gather(1, place[:, None])[:, 0], start)
    end = start
    while not torch.equal(end, step[end]):
        end = step[end]
    return int((step == start).sum()), scores[end]


def additive(scores: Tensor) -> float:
    """Share of the variance that a sum of one number per letter and position explains (a position weight matrix)."""
    x = torch.nn.functional.one_hot(octamers(), OCTAMERS.size).flatten(1).double()
    left_out = scores - x @ torch.linalg.lstsq(x, scores[:, None], driver="gelsd").solution[:, 0]
    return 1 - float(left_out.var() / scores.var())


def describe(task: TFBind8) -> dict[str, float]:
    """Figures of one landscape and its prior."""
    scores, median = task.scores, task.scores.median()
    optima, reached = ascent(scores)
    prior = task.prior()
    y = task.evaluate(sampled(prior, SAMPLES, generator(0, "y_prior")))
    z = prior.noise(SAMPLES, generator(0, "one step"))
    at_once = prior.transition.denoise(0, z, consistency_model(prior)(z, prior.transition.timesteps[0]))
    binders = octamers()[scores > BINDER]
    uniform = task.domain.sample(SAMPLES, generator(0, "uniform"))
    return {
        "median": float(median),
        f"above {BINDER}": len(binders),
        f"share of G and C above {BINDER}": float(((binders == 1) | (binders == 2)).double().mean()),
        "local optima": optima,
        "ascent: mean score": float(reached.mean()),
        "ascent: share that ends in the optimum": float((reached == 1).double().mean()),
        "additive R2": additive(scores),
        "mean of training sequences": float(task.evaluate(task.training_data()).mean()),
        "prior: share of the worse half": float((y < median).double().mean()),
        "consistency: share of the worse half": float((task.evaluate(prior.decode(at_once)) < median).double().mean()),
        "precision of binders": precision(task.features(binders), task.features(task.reference())),
        "precision of uniform sequences": precision(task.features(uniform), task.features(task.reference())),
    }


def main() -> None:
    """Print all figures."""
    tasks = {name: instantiate(find("task", name).settings) for name in NAMES}
    for name, task in tasks.items():
        print(name, *(f"  {key}: {value:.3f}" for key, value in describe(task).items()), sep="\n")
    ranks = torch.stack([task.scores.argsort().argsort().double() for task in tasks.values()])
    print("rank correlations", ranks.corrcoef().round(decimals=2).tolist())


if __name__ == "__main__":
    main()
