"""What `isolation=process` costs, on airfoil: seconds of its start, and milliseconds of a round.

    python benchmarks/isolation.py

A round of `genetic` is little but its designs, 256 asked, told and recommended; states are what others pass beside.
"""

import statistics
import time

import torch
from omegaconf import OmegaConf

from bbo_bench import load_task
from bbo_bench.apart import apart
from bbo_bench.device import limited_threads
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.testing.probe import made

N, REPEATS = 256, 20


def milliseconds(call, *arguments):
    """Median milliseconds of a call."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def a_round(optimizer):
    """What is asked of an optimizer in a round, but for the costs of learning."""
    x = optimizer.ask(N)
    optimizer.tell(x, torch.zeros(N, dtype=torch.float64))
    optimizer.predict(optimizer.recommend(N))
    optimizer.diagnostics()
    optimizer.state_dict()


def main():
    """Print the costs."""
    problem = load_task("airfoil").problem((N, N), torch.device("cpu"))
    x = problem.prior.decode(problem.prior.sample(N, generator(0)))
    for name in ("genetic", "sqdf", "ddpo", "turbo"):
        choice = find("optimizer", name)
        settings = OmegaConf.to_container(OmegaConf.merge(choice.settings, choice.quick))
        here = made("optimizer", name)(problem, generator(0))
        begun = time.perf_counter()
        with apart(settings, 1) as build:
            there = build(problem, generator(0))
            print(f"{name}: starts in {time.perf_counter() - begun:.1f} s")
            for each in (here, there):
                each.tell(x, x.flatten(1).sum(1).double())
            if name == "genetic":
                print(f"  a round: {milliseconds(a_round, there) - milliseconds(a_round, here):.1f} ms")
            print(f"  its state: {milliseconds(there.state_dict) - milliseconds(here.state_dict):.1f} ms")


if __name__ == "__main__":
    with limited_threads(1):
        main()
