"""Interquartile means and their intervals against values computed by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from bbo_bench.report.aggregate import estimate, interquartile_mean, over_tasks, per_task


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_interquartile_mean_cuts_a_quarter_on_each_side() -> None:
    assert interquartile_mean(column(1, 2, 3, 4, 5, 6, 100, -100))[0] == 3.5  # of 2, 3, 4 and 5
    assert interquartile_mean(column(0, 1, 2, 3, 100))[0] == 2  # of five values, one is cut on each side
    assert interquartile_mean(column(0, 1), column(2, 100))[0] == 1.5  # strata are pooled


def test_the_interval_holds_the_mean_and_lies_within_the_values() -> None:
    values = np.random.default_rng(1).normal(size=(5, 3))
    iqm, low, high = estimate(values)
    assert (low <= iqm).all() and (iqm <= high).all()
    assert (low >= values.min(0)).all() and (high <= values.max(0)).all()
    np.testing.assert_array_equal(estimate(values[:, 1:2]).low, low[1:2])  # not a matter of the other columns


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    _, low, high = estimate(rng.normal(size=(20, 100)))
    assert 0.85 < ((low < 0) & (high > 0)).mean() < 0.99


def test_resampling_within_strata_keeps_the_spread_between_them_out() -> None:
    _, low, high = estimate(column(0, 0, 0), column(10, 10, 10))
    assert low[0] == high[0] == 5


def test_a_single_seed_has_no_interval() -> None:
    iqm, low, high = estimate(column(3))
    assert iqm[0] == 3 and math.isnan(low[0]) and math.isnan(high[0])


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_below_five_seeds_the_interval_is_their_range(seeds: int) -> None:
    _, low, high = estimate(np.arange(2.0 * seeds).reshape(seeds, 2))
    assert (low.tolist(), high.tolist()) == ([0, 1], [2 * seeds - 2, 2 * seeds - 1])


def test_seeds_without_a_value_are_left_out_and_counted() -> None:
    frame = pd.DataFrame(
        {
            "task": "t",
            "optimizer": "o",
            "round": 0,
            "queries": 8,
            "a": [1.0, 3.0, 5.0],
            "b": [2.0, np.nan, 4.0],
            "c": np.nan,
        }
    )
    found = per_task(frame, ["a", "b", "c"]).set_index("metric")
    assert found["iqm"].to_dict() == {"a": 3.0, "b": 3.0}
    assert found["seeds"].to_dict() == {"a": 3, "b": 2}


def test_over_tasks_takes_the_last_round_of_each() -> None:
    rows = [("t", "o", 0, -9.0), ("t", "o", 1, 1.0), ("t", "o", 1, 2.0), ("u", "o", 2, 3.0), ("u", "o", 2, 4.0)]
    frame = pd.DataFrame(rows, columns=["task", "optimizer", "round", "normalized"])
    (row,) = over_tasks(frame, ["o"]).to_dict("records")
    assert (row["tasks"], row["seeds"], row["iqm"]) == (2, 4, pytest.approx(2.5))
    assert 2 <= row["low"] <= 2.5 <= row["high"] <= 3


def test_over_tasks_leaves_out_who_was_not_run_on_all() -> None:
    rows = [("t", "o", 0, 1.0), ("u", "o", 0, 1.0), ("u", "p", 0, 2.0)]
    frame = pd.DataFrame(rows, columns=["task", "optimizer", "round", "normalized"])
    assert over_tasks(frame, ["o", "p"])["optimizer"].tolist() == ["o"]
