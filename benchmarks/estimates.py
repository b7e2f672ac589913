"""How good the estimates x̂_0 of SQDF are, by denoising steps that are left: a table for its README.

    python benchmarks/estimates.py [task]

For states x_t of the prior's own trajectories, an estimate is compared with the x_0 that the stochastic sampler came
to, which nothing is closer to than the posterior mean, and with the end of the probability-flow ODE from x_t, which a
consistency model is distilled to give: root mean squares per dimension. `score` is its score against that of x_0: root
mean square and mean of the difference. Validity, and Fréchet distance to the held-out designs, say whether it is a
natural design at all.
"""

import sys

import torch
from torch import Tensor

from bbo_bench.diffusion.estimates import ESTIMATES
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.metrics import naturalness
from bbo_bench.seeding import generator
from bbo_bench.testing.probe import made

N = 1000
LEFT = (49, 40, 30, 20, 10, 5, 2)
"""Steps that are left at x_{t-1}, where SQDF looks ahead; those of a sampler that has as many."""
FINE = 2
"""Steps of the ODE solver per step of the sampler."""
HEADER = ("steps left", "estimate", "to x_0", "to the ODE's end", "score: rms", "score: mean", "validity", "Fréchet")


@torch.no_grad()
def main(name: str) -> None:
    """Print the table for one task."""
    task: DiffusionTask = made("task", name)
    prior = task.prior()
    step = prior.transition
    rng = generator(0, "estimates")
    x = prior.noise(N, rng)
    states = [x, *step.walk(prior.denoiser, x, rng)]
    y = scores(task, prior.decode(states[-1]))
    real = task.features(task.reference()).double()
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    for left in filter(step.steps.__gt__, LEFT):
        k = step.steps - left
        end = ode_end(prior, k, states[k])
        for label, estimate in ESTIMATES.items():
            x0 = estimate(prior, step)(torch.full((N,), k), states[k])
            designs = prior.decode(x0)
            gap = scores(task, designs) - y
            numbers = [
                rms(x0 - states[-1]),
                rms(x0 - end),
                rms(gap),
                float(gap.mean()),
                float(task.valid(designs).double().mean()),
                naturalness.frechet(task.features(designs).double(), real),
            ]
            print(f"| {left} | {label} | " + " | ".join(f"{number:.3g}" for number in numbers) + " |", flush=True)


def ode_end(prior: DiffusionPrior, k: int, x: Tensor) -> Tensor:
    """Where DDIM with η = 0 and small steps leads from states x at step `k` of the prior's sampler."""
    fine = prior.sampler(FINE * prior.transition.steps, eta=0.0)
    for i in range(FINE * k, fine.steps):
        x = fine.mean_by(prior.denoiser, i, x)
    return x


def scores(task: DiffusionTask, x: Tensor) -> Tensor:
    """Of designs; an infeasible one has the task's `infeasible_score`."""
    return task.evaluate(x).nan_to_num(neginf=task.infeasible_score)


def rms(x: Tensor) -> float:
    """Root mean square."""
    return float(x.square().mean().sqrt())


if __name__ == "__main__":
    main(*sys.argv[1:] or ["airfoil"])
