"""What the suite says of single designs: score, validity, likelihood, and the real design that is nearest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bbo_bench.core import Task
from bbo_bench.evaluation import Likelihood
from bbo_bench.io import texts
from bbo_bench.metrics.distinct import apart, slots
from bbo_bench.metrics.distinct import spacing as separation
from bbo_bench.metrics.naturalness import distances
from bbo_bench.oracle import answer, asked, true_scores, validity

EVALUATION = 256
"""Designs of an evaluation, by whose number the metric says what is distinct."""


@torch.no_grad()
def assess(task: Task, x: Tensor, names: Sequence[str], *, validate: bool = True) -> pd.DataFrame:
    """A row per design of `n x shape`.

    Columns: `name`; `score`, −inf for an infeasible design, NaN where the task does not score; `valid`, and the `fault`
    of a design that is not; `elbo_z`, how likely the prior finds it, in standard deviations from real designs; the
    `distance` to the nearest real design in the units of the task's features, and which that is, `nearest`;
    `checked`, the score by the task's independent method, NaN where it has none or gives none.

    Args:
        task: Whose designs they are.
        x: The designs.
        names: What they are called.
        validate: Whether to ask the independent method, which may be slow.

    Raises:
        ValueError: If a design is not of the task's domain.
        TaskError: If the task's answers are malformed.
    """
    x = task.domain.check(x)
    real, called = task.catalogue()
    distance, nearest = distances(asked(task, "features", x).double(), asked(task, "features", real).double()).min(1)
    checked = answer(task, "validate", x) if validate else None
    found = texts(task, real[nearest])
    return pd.DataFrame(
        {
            "name": list(names),
            "score": true_scores(task, x).numpy() if task.scored else np.nan,
            "valid": validity(task, x).numpy(),
            "fault": answer(task, "faults", x),
            "elbo_z": _elbo_z(task, x),
            "distance": distance.numpy(),
            "nearest": [called[i] or text for i, text in zip(nearest.tolist(), found, strict=True)],
            "checked": np.nan if checked is None else checked.numpy(),
        }
    )


def _elbo_z(task: Task, x: Tensor) -> object:
    prior = task.prior()
    if not isinstance(prior, Likelihood):
        return np.nan
    own, real = (prior.elbo(prior.encode(each)).double() for each in (x, task.reference()))
    return ((own - real.mean()) / real.std()).numpy()


def best(task: Task, x: Tensor, y: Tensor, top: int, *, distinct: bool = False) -> Tensor:
    """Numbers of the `top` best of `n x shape` designs by `n` scores, each object once, the best first.

    Args:
        task: Whose designs they are.
        x: The designs.
        y: Their scores; an infeasible one is −inf.
        top: How many there are at most.
        distinct: Whether only valid ones count, each as far from the better ones as the metric `distinct_top` asks.
    """
    features, names = asked(task, "features", x).double(), asked(task, "canonical", x)
    rows = torch.arange(len(x))
    spacing = 0.0
    if distinct:
        rows = validity(task, x).nonzero()[:, 0]
        real = asked(task, "features", task.reference()).double()
        spacing = separation(real, slots(EVALUATION))
    return rows[apart(names[rows], features[rows], y[rows], spacing)][:top]
