"""Families are found by their settings."""

from pathlib import Path

import pandas as pd

from bbo_bench.report.families import distinct, families, order
from bbo_bench.report.runs import Run


def run(name: str, **settings: object) -> Run:
    return Run(Path(), "t", name, 0, {"optimizer": {"name": name, **settings}}, pd.DataFrame(), {})


def test_families_differ_in_the_kl_weight_alone() -> None:
    runs = [
        run("zeta"),
        run("sqdf_kl_high", _target_="S", kl_weight=1.0),
        run("sqdf", _target_="S", kl_weight=0.1),
        run("sqdf_kl_low", _target_="S", kl_weight=0.01),
        run("sqdf_random", _target_="S", kl_weight=0.1, replay="random"),
        run("prior_sampling"),
    ]
    found = families(runs)
    assert list(found) == ["prior_sampling", "sqdf", "sqdf_random", "zeta"]
    assert list(found["sqdf"].items()) == [("sqdf_kl_low", 0.01), ("sqdf", 0.1), ("sqdf_kl_high", 1.0)]
    assert order(found) == ["prior_sampling", "sqdf", "sqdf_kl_low", "sqdf_kl_high", "sqdf_random", "zeta"]


def test_arms_are_families_of_their_own() -> None:
    runs = [run(f"ddpo{arm}{kl}", arm=arm, kl_weight=len(kl)) for arm in ("", "_oracle") for kl in ("", "_kl_2")]
    assert {base: list(family) for base, family in families(runs).items()} == {
        "ddpo": ["ddpo", "ddpo_kl_2"],
        "ddpo_oracle": ["ddpo_oracle", "ddpo_oracle_kl_2"],
    }


def test_a_family_whose_base_was_not_run_hides_none_of_its_members() -> None:
    labels = {f"sqdf (kl_weight={weight})": weight for weight in (0.3, 0.03)}
    runs = [run(name, _target_="S", kl_weight=weight) for name, weight in labels.items()]
    runs += [run(f"sqdf (kl_weight={weight}, gamma=1)", kl_weight=weight, gamma=1) for weight in (0.3, 0.03)]
    found = families(runs)
    assert list(found) == ["sqdf", "sqdf (gamma=1)"]
    assert list(found["sqdf"].items()) == [("sqdf (kl_weight=0.03)", 0.03), ("sqdf (kl_weight=0.3)", 0.3)]
    assert distinct(found) == order(found) == [run.optimizer for run in (runs[1], runs[0], runs[3], runs[2])]
    assert distinct(families([*runs, run("sqdf", _target_="S", kl_weight=0.1)]))[0] == "sqdf"
    assert len(distinct(families([*runs, run("sqdf", _target_="S", kl_weight=0.1)]))) == 3


def test_budgets_are_a_family_beside_that_of_weights() -> None:
    runs = [run(f"ddpo (kl_weight=null, kl_budget={n})", kl_weight=None, kl_budget=n) for n in (8, 2)]
    assert families(runs) == {"ddpo": {runs[1].optimizer: 2.0, runs[0].optimizer: 8.0}}
    runs += [run("ddpo", kl_weight=0.1), run("ddpo (kl_weight=1)", kl_weight=1.0)]
    found = families(runs)
    assert {base: list(group.values()) for base, group in found.items()} == {
        "ddpo": [0.1, 1.0],
        "ddpo (kl_budget)": [2.0, 8.0],
    }
    assert distinct(found) == ["ddpo", runs[1].optimizer, runs[0].optimizer]
