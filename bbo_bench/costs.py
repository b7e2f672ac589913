"""What a run of each optimizer took where it was measured: airfoils, 960 queries, one core (`benchmarks/costs.py`)."""

from __future__ import annotations

import csv
from pathlib import Path

FILE = Path(__file__).with_name("costs.csv")


def seconds() -> dict[str, float]:
    """By optimizer; those that were not measured are missing."""
    with FILE.open(newline="", encoding="utf-8") as file:
        return {row["optimizer"]: float(row["seconds"]) for row in csv.DictReader(file)}
