"""What merging LoRA into plain weights saves: before and after in one run, by turns, on the denoiser of `airfoil`.

    python benchmarks/merging.py --csv results/speed/merging.csv

Rollouts are merged once each (`Policy.merged`), chains that a gradient runs through once per update
(`Policy.composed`). The columns are medians of the time without over the time with merging.
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from itertools import islice
from unittest.mock import patch

import pandas as pd
import torch
from speed import Clock, fine_tuner, problem, updates

from bbo_bench.alignment.policy import Policy
from bbo_bench.device import limited_threads

METHODS = ("draft_full_kl", "draft_full", "alignprop", "seiko")


def measure(name: str, repeats: int) -> dict[str, float | str]:
    """A row of the table."""
    device = torch.device("cpu")
    tuner = fine_tuner(name, problem("airfoil", 50, device), 128, device)
    steps, clock = updates(tuner, time.perf_counter), Clock(device)
    before = patch.multiple(Policy, merged=lambda policy: policy.network, composed=lambda policy: policy)
    turns = []
    for _ in range(repeats + 1):
        times = {}
        for when, how in (("before", before), ("after", nullcontext())):
            with how:
                times[f"rollout_{when}"] = clock.time(tuner.sample, 128)
                times[f"update_{when}"] = sum(islice(steps, 5)) / 5
        turns.append(times)
    table = pd.DataFrame(turns[1:])  # the first warms up
    ratios = {key: (table[f"{key}_before"] / table[f"{key}_after"]).median() for key in ("rollout", "update")}
    return {"method": name, **ratios}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--csv", help="where to write the table")
    args = parser.parse_args()
    with limited_threads(1):
        table = pd.DataFrame([measure(name, args.repeats) for name in args.methods])
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if args.csv:
        table.to_csv(args.csv, index=False)


if __name__ == "__main__":
    main()
