"""What a task's card says in numbers: the score of prior and data, the prior's quality, speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from bbo_bench.control.task import PlanTask
from bbo_bench.core import Prior, Task
from bbo_bench.device import limited_threads
from bbo_bench.diffusion.estimates import ESTIMATES
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.diffusion.train import quality
from bbo_bench.metrics.distinct import slots, spacing
from bbo_bench.metrics.naturalness import distances
from bbo_bench.metrics.reward import best
from bbo_bench.oracle import finite, true_scores
from bbo_bench.seeding import generator

PRIOR_SAMPLES = 10_000
"""Samples behind `y_prior`."""
SCORED = 1000
"""Samples whose scoring is timed."""
SAMPLED = 256
"""Designs whose sampling is timed, as many as a run recommends."""
SIZES = (256, 64)
"""Designs that the shipped budgets recommend."""
LEFT = (1.0, 0.85, 0.6)
"""Shares of the steps left, at which estimates of what they lead to are judged."""


def measure(task: Task) -> dict[str, Any]:
    """Figures of a task, on one thread; those of the training designs only where the task has them.

    Returns:
        Under `scores` mean and standard deviation of 10,000 prior samples (the mean also as the task declares it), mean
        and best valid score of the data, or of as many of them as there are reference designs where they are plans in
        a simulator; under `prior samples` and `training designs` how as many of them as there are reference designs
        compare with these, and the task's own metrics of the prior's; under `consistency model` and `posterior mean`
        what these make of noise and of noised training designs in one step; the median distance to the nearest
        training design in feature space; the distance from which on two designs are distinct, where 32 of 256 or 8 of
        64 are shipped; under `speed` seconds and rates.
    """
    with limited_threads(1):
        prior, reference = task.prior(), task.reference()
        x = sampled(prior, PRIOR_SAMPLES, generator(0, "y_prior"))
        y = finite(task, true_scores(task, x))
        known = reference
        with prior.every_prompt() if isinstance(prior, DiffusionPrior) else nullcontext():
            few = sampled(prior, len(reference), generator(0, "quality"))
        figures: dict[str, object] = {"prior samples": quality(task, few) | _rounded(task.metrics(few))}
        if isinstance(task, DiffusionTask):
            known = task.training_data()
            drawn = known[torch.randperm(len(known), generator=generator(0, "card"))[: len(reference)]]
            figures["training designs"] = quality(task, drawn)
            figures["consistency model"] = in_one_step(task, drawn, "consistency")
            figures["posterior mean"] = in_one_step(task, drawn, "tweedie")
            figures["distance to the nearest training design"] = {
                name: nearest(task, designs, known) for name, designs in {"prior": few, "reference": reference}.items()
            }
            known = drawn if isinstance(task, PlanTask) else known  # plans in a simulator take 10 to 100 ms each
        real = finite(task, true_scores(task, known))
        scores: dict[str, float | Tensor] = {
            "y_prior": y.mean(),
            "y_prior as declared": task.y_prior,
            "std of the prior": y.std(),
            "mean of the data": real.mean(),
            "best valid of the data": best(real[task.valid(known)]),
            "best valid of the prior": best(y[task.valid(x)]),
            "best_known as declared": task.best_known,
        }
        speed = {
            "designs a second": SCORED / seconds(lambda: task.evaluate(x[:SCORED]), 3),
            "seconds to sample 256": seconds(lambda: sampled(prior, SAMPLED, generator(0, "speed")), 3),
        }
        figures["spacing of distinct designs"] = {
            f"{slots(m)} of {m}": float(f"{spacing(task.features(reference).double(), slots(m)):.4g}") for m in SIZES
        }
        return {"scores": _rounded(scores), **figures, "speed": _rounded(speed)}


def differences(scores: Mapping[str, float]) -> list[str]:
    """In what a task's declared constants differ from measured `scores`, a line each.

    The mean by more than five standard errors of two samples of 10,000, or `best_known` where a valid design beats it.
    """
    mean, declared, best_known = (scores[key] for key in ("y_prior", "y_prior as declared", "best_known as declared"))
    error = scores["std of the prior"] * (2 / PRIOR_SAMPLES) ** 0.5
    found = max(scores["best valid of the data"], scores["best valid of the prior"])  # a lower bound
    lines = []
    if not abs(mean - declared) <= 5 * error + 1e-3 * abs(mean):
        lines.append(
            f"y_prior={declared:.4g} is declared, {mean:.4g} ± {error:.2g} measured: give task.y_prior={mean:.4g}"
        )
    if found > best_known * (1 + 1e-3 if best_known > 0 else 1 - 1e-3):
        lines.append(
            f"best_known={best_known:.4g} is declared, but a valid design has {found:.4g}: raise task.best_known"
        )
    return lines


def sampled(prior: Prior, n: int, rng: torch.Generator) -> Tensor:
    """`n x shape` designs of the prior, sampled in batches of a million numbers or so."""
    batch = max(SAMPLED, 2**20 // prior.latent_shape.numel())
    return torch.cat([prior.decode(prior.sample(min(batch, n - i), rng)) for i in range(0, n, batch)])


@torch.no_grad()
def in_one_step(task: DiffusionTask, x: Tensor, name: str) -> dict[str, object]:
    """The quality of what an estimate makes of noise, and of `n x shape` designs noised up to some steps."""
    prior, rng = task.prior(), generator(0, "one step")
    step, z = prior.transition, prior.encode(x)
    estimate = ESTIMATES[name](prior, step)
    outcome: dict[str, object] = {}
    for left in LEFT:
        k = torch.full((len(x),), round((1 - left) * step.steps))
        with prior.every_prompt():
            noise = prior.noise(len(x), rng)
        ahead = estimate(k, noise if left == 1 else step.noise(k, z, noise))
        outcome[f"{step.steps - int(k[0])} steps left of {step.steps}"] = quality(task, prior.decode(ahead))
    return outcome


def nearest(task: Task, x: Tensor, data: Tensor) -> float:
    """Median distance in feature space from `n x shape` designs to the nearest of `m x shape` others."""
    return round(float(distances(task.features(x), task.features(data)).amin(1).median()), 4)


def seconds(function: Callable[[], object], times: int) -> float:
    """Median duration of a call, after one that warms up."""
    function()
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return sorted(durations)[times // 2]


def _rounded(figures: Mapping[str, float | Tensor]) -> dict[str, float]:
    return {name: float(f"{float(value):.4g}") for name, value in figures.items()}
