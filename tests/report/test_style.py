"""Styles stay; families are found by their settings."""

from pathlib import Path

import pandas as pd

from bbo_bench.report.runs import Run
from bbo_bench.report.style import KNOWN, families, order, style


def run(name: str, **settings: object) -> Run:
    return Run(Path(), "t", name, 0, {"optimizer": {"name": name, **settings}}, pd.DataFrame(), {})


def test_known_optimizers_look_different() -> None:
    assert len({look.color for look in KNOWN.values()}) == len(KNOWN)
    assert style("sqdf") == KNOWN["sqdf"]


def test_a_plugins_style_is_its_own_and_fixed() -> None:
    assert style("my_method") == ("#882255", ">", (0, (8, 2)))
    assert style("my_method") != style("my_other_method")


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
