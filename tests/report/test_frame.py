"""One table of many runs."""

import doctest
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import bbo_bench
from bbo_bench.report import frame

Make = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def test_a_row_per_run_and_round_with_the_settings_that_differ(make: Make, results: Path) -> None:
    make("sqdf", 1, {"best": [1.0, 2.0, 3.0, 4.0]}, settings={"kl_weight": 0.01, "same": 1})
    make("sqdf", 0, {"best": 5.0}, settings={"kl_weight": 0.7, "same": 1}, experiment="strong")
    make("ddpo", 0, {"best": 6.0, "diagnostics.loss": 7.0}, settings={"same": 1}, machine={"threads": 2})
    found = bbo_bench.load_results(results / "exp", str(results / "strong"))
    assert len(found) == 12
    assert found["optimizer"].unique().tolist()[1:] == ["sqdf (kl_weight=0.01, same=1)", "sqdf (kl_weight=0.7, same=1)"]
    assert found["method"].value_counts().to_dict() == {"sqdf": 8, "ddpo": 4}
    last = found[found["round"] == 3].set_index(["method", "seed"])
    assert last["best"].to_dict() == {("ddpo", 0): 6, ("sqdf", 0): 5, ("sqdf", 1): 4}
    assert last["optimizer.kl_weight"].dropna().to_dict() == {("sqdf", 0): 0.7, ("sqdf", 1): 0.01}
    assert last["threads"].to_dict() == {("ddpo", 0): 2, ("sqdf", 0): 1, ("sqdf", 1): 1}
    assert last["diagnostics.loss"].dropna().tolist() == [7]
    assert "optimizer.same" not in found and "task.name" not in found


def test_budgets_that_differ_are_columns_and_left_out_runs_are_named(make: Make, results: Path) -> None:
    make("sqdf", 0, {"best": 1.0})
    make("sqdf", 1, {"best": 1.0}, rounds=(32, 64))
    begun = make("sqdf", 2, {"best": 1.0}, complete=False)
    found = bbo_bench.load_results(results)
    assert found.groupby("budget.rounds").size().to_dict() == {"[32,64]": 2, "[64,128,256,512]": 4}
    assert found.attrs["left_out"] == {str(begun): "incomplete: 4 rounds are committed"}


def test_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pd.option_context("display.width", 120):
        tried = doctest.testmod(frame, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert (tried.failed, tried.attempted) == (0, 4)
