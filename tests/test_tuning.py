"""The defaults are what tuning found: on families of tasks, or, where that is to come, on airfoils."""

import csv
import json
from pathlib import Path

import pytest

from bbo_bench import tuning
from bbo_bench.plugins import Choice, choices

KNOWN = choices("optimizer")
FOLDER = Path(__file__).parents[1] / "results" / "tuning"
DEPARTURES = {
    "reinforce": {"truncation.first": None, "truncation.last": None},
    "reinforce_oracle": {"truncation.first": None, "truncation.last": None},
}
"""REINFORCE's 50 steps are all of airfoil's sampler."""
BY_RULE = ("turbo",)
"""Optimizers whose settings follow the size of a round, and what BoTorch's tutorial has."""
NATS = 8.0
"""The budget of those without trials on families, in the place of the KL weights that were found on airfoils."""


def trials() -> list[dict[str, str]]:
    """Those on airfoils, the best last."""
    with (FOLDER / "airfoil.csv").open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: float(row["objective"]))


TRIALS = trials()
BEST = {row["optimizer"]: json.loads(row["settings"]) for row in TRIALS}


def setting(choice: Choice, key: str) -> object:
    value = choice.settings
    for part in key.split("."):
        value = value[part]
    return value


ADOPTED = (
    *("cma_es", "genetic", "best_of_n", "svdd", "sqdf", "ddpo", "ddpo_sf", "dpok", "ppo_kl", "grpo"),
    *("draft_full_kl", "alignprop", "seiko", "d3po", "awm", "rwr", "raft", "guidance", "das"),
)
"""Optimizers whose defaults are the best of their trials on families."""
FINALISTS = tuple(dict.fromkeys(row["optimizer"] for row in tuning.read(FOLDER / "whole")))
"""Those of them whose best trials were made anew at the whole budget, which decides."""


@pytest.mark.parametrize("name", ADOPTED)
def test_defaults_are_the_best_trials_over_all_families(name):
    rows = tuning.read(FOLDER)
    assert len({row["trial"] for row in rows if row["optimizer"] == name}) == 2 * len(KNOWN[name].search)
    if name in FINALISTS:
        rows = tuning.read(FOLDER / "whole")
        assert len({row["trial"] for row in rows if row["optimizer"] == name}) == 4
    for key, value in tuning.shipped(rows, name).items():
        assert setting(KNOWN[name], key) == value, f"{key} of {name}"


@pytest.mark.parametrize("name", [name for name in BEST if name not in (*ADOPTED, *BY_RULE)])
def test_every_optimizer_had_twelve_trials_and_has_the_best_ones_settings(name):
    choice = KNOWN[name]
    assert sum(row["optimizer"] == name for row in TRIALS) == 12
    for key, value in (BEST[name] | DEPARTURES.get(name, {})).items():
        if key == "kl_weight" and choice.settings.get("kl_budget") is not None:
            assert (choice.settings["kl_weight"], choice.settings["kl_budget"]) == (None, NATS)
        else:
            assert setting(choice, key) == value, f"{key} of {name}"


@pytest.mark.parametrize(
    "name", [name for name in BEST if name not in (*ADOPTED, *BY_RULE) and not name.endswith("_oracle")]
)
def test_what_is_searched_is_what_was_and_holds_the_default(name):
    choice = KNOWN[name]
    budgeted = {"kl_budget" if key == "kl_weight" else key for key in BEST[name]}
    assert set(choice.search) in (budgeted, set(BEST[name]))
    for key, distribution in tuning.space(choice).items():
        if key not in DEPARTURES.get(name, {}):
            assert distribution._contains(distribution.to_internal_repr(setting(choice, key))), f"{key} of {name}"
