"""The defaults are what the equal tuning found."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from bbo_bench.plugins import choices

FOLDER = Path(__file__).parents[1] / "results" / "tuning"
FASTER = {"updates": 150, "training.learning_rate": 0.0012}
"""SQDF's defaults that are not the search's: they end at the same in half the time, as its README shows."""
ALL_STEPS = {"truncation.first": None, "truncation.last": None}
"""REINFORCE's defaults where the search's 50 are all steps of airfoil's sampler, as other samplers have fewer."""
RANGES = yaml.safe_load((FOLDER / "ranges.yaml").read_text())


@pytest.fixture(scope="module")
def trials():
    with (FOLDER / "tuning.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", RANGES)
def test_every_optimizer_had_twelve_trials_and_has_the_best_ones_settings(name, trials):
    made = [row for row in trials if row["optimizer"] == name]
    assert len(made) == 12
    best = json.loads(max(made, key=lambda row: float(row["objective"]))["settings"])
    assert set(best) == set(RANGES[name])
    best |= {"sqdf": FASTER, "reinforce": ALL_STEPS, "reinforce_oracle": ALL_STEPS}.get(name, {})
    settings = choices("optimizer")[name].settings
    for key, value in best.items():
        setting = settings
        for part in key.split("."):
            setting = setting[part]
        assert setting == value, f"{key} of {name}"
