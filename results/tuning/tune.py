"""Equal tuning: a random search of as many configurations for every optimizer, on one task and one unreported seed.

    python results/tuning/tune.py                  # all optimizers of ranges.yaml
    python results/tuning/tune.py sqdf ddpo --jobs 2

Configurations are a Latin hypercube of the ranges, the same at every call. A trial is an ordinary run below `runs/`, so
the search goes on where it was stopped. `tuning.csv` lists all trials, best first for every optimizer.

The objective is `score`, the area under `distinct_top`: how good the mutually distinct valid designs are that are
recommended after every round. A trial that fails has objective 0.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any
from zlib import crc32

import joblib
import yaml
from omegaconf import OmegaConf
from scipy.stats import qmc

from bbo_bench.plan import Plan, check, reason
from bbo_bench.plugins import find

FOLDER = Path(__file__).parent
TASK = "airfoil"
SEED = 1000
TRIALS = 12
BUDGET = {"rounds": [64, 128, 256, 512], "evaluation": 256, "validation": 0}


def main() -> None:
    """Search, and list what has been found so far."""
    ranges = yaml.safe_load((FOLDER / "ranges.yaml").read_text())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizers", nargs="*", default=list(ranges))
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    arguments = parser.parse_args()
    if unknown := set(arguments.optimizers) - set(ranges):
        parser.error(f"ranges.yaml has no {', '.join(sorted(unknown))}")
    trials = [(name, i, each) for name in ranges for i, each in enumerate(drawn(name, ranges[name]))]
    known = {(row["optimizer"], int(row["trial"]), row["settings"]): row for row in found()}
    jobs = (joblib.delayed(tried)(*trial) for trial in trials if trial[0] in arguments.optimizers)
    for _ in joblib.Parallel(arguments.jobs, return_as="generator_unordered")(jobs):
        kept = ((trial, known.get((trial[0], trial[1], json.dumps(trial[2])))) for trial in trials)
        write([row for trial, before in kept if (row := outcome(*trial) or before)])


def found() -> list[dict[str, Any]]:
    """The rows of `tuning.csv`, whose runs may be gone."""
    with (FOLDER / "tuning.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def drawn(name: str, ranges: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The configurations of an optimizer."""
    cube = qmc.LatinHypercube(len(ranges), rng=crc32(name.encode())).random(TRIALS)
    return [{key: value(u, *ranges[key]) for key, u in zip(ranges, row, strict=True)} for row in cube.tolist()]


def value(u: float, kind: str, *bounds: Any) -> Any:
    """The value at quantile `u` of a range: `[log, low, high]`, `[uniform, low, high]` or `[choice, ...]`."""
    if kind == "choice":
        return bounds[int(u * len(bounds))]
    low, high = bounds
    return float(f"{low * (high / low) ** u if kind == 'log' else low + (high - low) * u:.2g}")


def plan(name: str, i: int, settings: dict[str, Any]) -> Plan:
    """The run of a trial."""
    choices = {"task": find("task", TASK), "optimizer": find("optimizer", name)}
    changes = OmegaConf.from_dotlist([f"{key}={json.dumps(each)}" for key, each in settings.items()])
    merged: Any = OmegaConf.to_container(OmegaConf.merge(choices["optimizer"].settings, changes))
    check(choices["optimizer"], merged)
    config = {
        "task": {"name": TASK, **choices["task"].settings},
        "optimizer": {"name": name, **merged},
        "budget": BUDGET,
        "seed": SEED,
        "device": "cpu",
        "threads": 1,
    }
    return Plan(folder(name, i), config)


def folder(name: str, i: int) -> Path:
    """Where the run of a trial lies."""
    return FOLDER / "runs" / f"{i:02d}" / TASK / name / f"seed_{SEED}"


def tried(name: str, i: int, settings: dict[str, Any]) -> None:
    """Make the run of a trial, or what is left of it; what stops it is told, and kept in its folder."""
    try:
        plan(name, i, settings).execute()
    except Exception as error:
        print(f"{name} {settings}: {reason(error)}", flush=True)


def outcome(name: str, i: int, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The row of a trial, or None if it has not been made."""
    made = folder(name, i)
    row: dict[str, Any] = {"optimizer": name, "trial": i, "objective": 0.0}
    if (made / "error.txt").exists():
        note = (made / "error.txt").read_text().strip().splitlines()[-1]
        return row | {"settings": json.dumps(settings), "note": note}
    if not (made / "provenance.json").exists():
        return None
    provenance = json.loads((made / "provenance.json").read_text())
    if not provenance["complete"]:
        return None
    with (made / "metrics.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    numbers = {
        "objective": float(last["score"]),
        "reward_mean": float(last["reward_mean"]),
        "validity": float(last["validity"]),
        "pairwise_ratio": min(1.0, float(last["pairwise"]) / float(last["pairwise_reference"])),
        "seconds": sum(each["total"] for each in provenance["seconds"]),
        "peak_mb": provenance["peak_mb"],
    }
    return row | {key: round(each, 4) for key, each in numbers.items()} | {"settings": json.dumps(settings)}


def write(rows: list[dict[str, Any]]) -> None:
    """Write `tuning.csv`, aside first."""
    rows.sort(key=lambda row: (row["optimizer"], -float(row["objective"])))
    columns = ["optimizer", "trial", "objective", "reward_mean", "validity", "pairwise_ratio", "seconds", "peak_mb"]
    part = FOLDER / "tuning.csv.part"
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*columns, "settings", "note"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(FOLDER / "tuning.csv")


if __name__ == "__main__":
    main()
