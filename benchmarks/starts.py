"""How far plans contradict what they start from: `python benchmarks/starts.py`.

Errors of the first planned position, and coherency: of 10,000 plans of the planners, from starts that the environment
draws; and errors of plans whose start is painted into priors that are not told what is given, from held-out ones.
"""

from __future__ import annotations

import torch

from bbo_bench import load_task
from bbo_bench.alignment.inpainting import inpaint
from bbo_bench.seeding import generator
from bbo_bench.tasks.nav1d.environment import HORIZON, advance
from bbo_bench.tasks.nav1d.planner import started

PLANS = 10_000


def main() -> None:
    """Measure and print."""
    for data in ("partial", "full", "expert"):
        task = load_task(f"nav1d_planner_{data}")
        prior, start = task.prior(), task.control().environment.reset(PLANS, generator(5))
        with prior.drawing(started(start)):
            x = prior.decode(prior.sample(PLANS, generator(6)))
        error, coherency = float(task.errors(x)[:, 0].mean()), float(task.coherency(x).mean())
        print(f"{data}: given, error {error:.3f}, coherency {coherency:.3f}")
    known = torch.arange(2 * HORIZON).reshape(HORIZON, 2) == 0
    for data in ("full", "expert"):
        task = load_task(f"nav1d_{data}")
        prior, x = task.prior(), task.reference()
        for resamples in (1, 8):
            plans = prior.decode(inpaint(prior, prior.encode(x), known, generator(0), resamples=resamples))
            error = float((plans[:, 1, 0] - advance(plans[:, 0, 0], plans[:, 0, 1])).abs().mean())
            print(f"{data}: painted in, {resamples} resamples, error {error:.2f}")


if __name__ == "__main__":
    main()
