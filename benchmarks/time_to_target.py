"""Seconds and queries until SQDF reaches a target on airfoil: a mean score of 1.6 at a validity of .85.

    python benchmarks/time_to_target.py [seed ...]

`published` draws half a batch of fresh trajectories of 50 steps before every update, as the authors' code does; the
others are cheaper, the default by half as many updates at twice the learning rate. Runs are made one by one by
`bbo-bench run`, which resumes them, in results/time_to_target/runs; the outcome goes to time_to_target.csv beside them.
Seconds are those of ask and tell: run it on an idle machine.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path("results/time_to_target")
REWARD, VALIDITY = 1.6, 0.85
TUNED = ["optimizer.updates=300", "optimizer.training.learning_rate=0.00059"]
RECIPES = {
    "published": [*TUNED, "optimizer.rollouts=64", "optimizer.rollout_every=1"],
    "rollouts_every_10": TUNED,
    "rollouts_every_30": [*TUNED, "optimizer.rollout_every=30"],
    "rollouts_every_10_of_20_steps": [*TUNED, "optimizer.steps=20"],
    "rollouts_every_10_of_10_steps": [*TUNED, "optimizer.steps=10"],
    "default": [],
    "default_of_20_steps": ["optimizer.steps=20"],
}
"""All but the last two with the updates and the learning rate that tuning found."""
COLUMNS = ["reward_mean", "validity", "frechet", "pairwise"]


def main(seeds: list[int]) -> None:
    """Make the runs, and write a row for each and a table of medians."""
    rows = [outcome(recipe, seed) for seed in seeds for recipe in RECIPES]
    ROOT.mkdir(parents=True, exist_ok=True)
    with (ROOT / "time_to_target.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    medians = pd.DataFrame(rows).groupby("recipe", sort=False).median().drop(columns="seed")
    print(medians.to_string(float_format="{:.3g}".format))


def outcome(recipe: str, seed: int) -> dict[str, object]:
    """When a run reached the target, empty if it never did, and how it ended."""
    settings = [f"name={recipe}", f"results={ROOT}/runs", f"seed={seed}", "budget.validation=0", *RECIPES[recipe]]
    subprocess.run(["bbo-bench", "run", "task=airfoil", "optimizer=sqdf", *settings], check=True)
    folder = ROOT / "runs" / recipe / "airfoil" / "sqdf" / f"seed_{seed}"
    metrics = pd.read_csv(folder / "metrics.csv")
    phases = pd.DataFrame(json.loads((folder / "provenance.json").read_text())["seconds"])
    seconds = (phases["ask"] + phases["tell"]).cumsum()
    reached = (metrics["reward_mean"] >= REWARD) & (metrics["validity"] >= VALIDITY)
    first = int(reached.argmax())
    return {
        "recipe": recipe,
        "seed": seed,
        "queries": metrics["queries"][first] if reached.any() else None,
        "seconds": round(seconds[first], 1) if reached.any() else None,
        "seconds_in_all": round(seconds.iloc[-1], 1),
        **metrics[COLUMNS].iloc[-1].round(4),
    }


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [100, 101, 102])
