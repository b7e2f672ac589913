"""What `isolation=process` costs, on airfoil: seconds of its start, and milliseconds of a round.

    python benchmarks/isolation.py

A round of `genetic` is little but its designs, which are asked, told and recommended, and its state: the four rounds of
the budget `standard`. States are what others pass beside.
"""

import itertools
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

ROUNDS, N, REPEATS = (64, 128, 256, 512), 256, 20


def milliseconds(call, *arguments):
    """Median milliseconds of a call."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def rounds(build, problem, first):
    """Median milliseconds of each round; the first is told `first`, as the loop does it."""
    times = []
    for _ in range(REPEATS):
        optimizer, marks = build(problem, generator(0)), [time.perf_counter()]
        for n in ROUNDS:
            x = optimizer.ask(n) if marks[1:] else first
            optimizer.tell(x, torch.zeros(len(x), dtype=torch.float64))
            optimizer.predict(optimizer.recommend(N))
            optimizer.diagnostics()
            optimizer.state_dict()
            marks.append(time.perf_counter())
        times.append([1000 * (after - before) for before, after in itertools.pairwise(marks)])
    return [statistics.median(each) for each in zip(*times, strict=True)]


def main():
    """Print the costs."""
    problem = load_task("airfoil").problem(ROUNDS, torch.device("cpu"))
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
            print(f"  its state: {milliseconds(there.state_dict) - milliseconds(here.state_dict):.1f} ms")
            if name == "genetic":
                builds = (build, made("optimizer", name))
                apart_, together = (rounds(each, problem, x[: ROUNDS[0]]) for each in builds)
                costs = ", ".join(f"{a - b:.1f}" for a, b in zip(apart_, together, strict=True))
                print(f"  rounds of {', '.join(map(str, ROUNDS))}: {costs} ms")


if __name__ == "__main__":
    with limited_threads(1):
        main()
