"""What a run of each optimizer costs, which `bbo-bench list` shows.

    python benchmarks/costs.py results/standard

Writes the least seconds of the complete runs of a folder to `bbo_bench/costs.csv`, as other work on a machine only adds
to them, and the largest memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from bbo_bench.costs import FILE
from bbo_bench.report.runs import find_runs


def main(folder: Path) -> None:
    """Write the file."""
    rows = [
        {
            "optimizer": run.config["optimizer"]["name"],
            "seconds": sum(each["total"] for each in run.provenance["seconds"]),
            "peak_mb": run.provenance["peak_mb"],
        }
        for run in find_runs([folder]).complete
    ]
    costs = pd.DataFrame(rows).groupby("optimizer").agg(seconds=("seconds", "min"), peak_mb=("peak_mb", "max"))
    costs.round(0).astype(int).to_csv(FILE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
