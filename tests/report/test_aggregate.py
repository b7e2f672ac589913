"""Interquartile means and their intervals against values computed by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from bbo_bench.report.aggregate import (
    estimate,
    interquartile_mean,
    over_tasks,
    per_task,
    standard_error,
    student,
)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_interquartile_mean_cuts_a_quarter_on_each_side() -> None:
    assert interquartile_mean(column(1, 2, 3, 4, 5, 6, 100, -100))[0] == 3.5  # of 2, 3, 4 and 5
    assert interquartile_mean(column(0, 1, 2, 3, 100))[0] == 2  # of five values, one is cut on each side


def test_the_interval_by_hand() -> None:
    """Of 0, 1, 2, 3, 100 the middle is 1, 2, 3; with its neighbours for the cut, the squares are 4 and h is 2.5."""
    iqm, low, high = estimate(column(100, 0, 2, 1, 3))
    quantile = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))  # of Student's t with 2 degrees of freedom
    half = quantile * math.sqrt(4 / (2.5 * 1.5))
    assert (iqm[0], low[0], high[0]) == pytest.approx((2, 2 - half, 2 + half), rel=1e-12)
    assert estimate(np.stack([np.arange(5.0), [100, 0, 2, 1, 3]], 1)).low[1] == low[0]  # no matter of other columns


def test_where_a_quarter_is_a_whole_number_the_standard_error_is_yuens() -> None:
    """SciPy has her test for two samples; the second, constant here, adds no variance."""
    values = np.random.default_rng(3).normal(size=(8, 1))
    error, freedom = standard_error(values)
    test = ttest_ind(values[:, 0], np.zeros(8), equal_var=False, trim=0.25)
    assert freedom == test.df == 3
    assert interquartile_mean(values)[0] / error[0] == pytest.approx(test.statistic, rel=1e-12)


def test_the_spread_between_strata_stays_out_and_their_freedom_adds_up() -> None:
    values = np.array([100.0, 0, 2, 1, 3])
    point = estimate(column(0, 0, 0, 0, 0), column(10, 10, 10, 10, 10))
    assert (point.iqm[0], point.low[0], point.high[0]) == (5, 5, 5)
    iqm, low, high = estimate(values[:, None], 10 + values[:, None])
    half = 2.7764451051977934 * math.sqrt(2 * 4 / (2.5 * 1.5)) / 2  # 2 + 2 degrees of freedom
    assert (iqm[0], low[0], high[0]) == pytest.approx((7, 7 - half, 7 + half), rel=1e-12)


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_below_five_seeds_there_is_no_interval(seeds: int) -> None:
    iqm, low, high = estimate(np.arange(2.0 * seeds).reshape(seeds, 2))
    assert iqm.tolist() == [seeds - 1, seeds]
    assert np.isnan([low, high]).all()
    assert math.isnan(estimate(column(1, 2, 3, 4, 5), np.arange(seeds)[:, None] * 1.0).low[0])


def test_students_mean() -> None:
    half = 2.7764451051977934 * math.sqrt(2.5 / 5)
    found = student(np.array([1.0, 2, 3, 4, 5]))
    assert found[:3] == pytest.approx((3, 3 - half, 3 + half), rel=1e-12)
    assert found.p == pytest.approx(ttest_1samp([1, 2, 3, 4, 5], 0).pvalue, rel=1e-12)
    assert student(np.full(5, 2.0)).mean == 2 and np.isnan(student(np.full(5, 2.0))[1:]).all()
    assert student(np.zeros(5)) == (0, 0, 0, 1)
    assert np.isnan(student(np.arange(4.0))[1:]).all()


def test_seeds_without_a_value_are_left_out_and_counted() -> None:
    frame = pd.DataFrame(
        {
            "task": "t",
            "optimizer": "o",
            "round": 0,
            "queries": 8,
            "seed": [7, 8, 9],
            "a": [1.0, 3.0, 5.0],
            "b": [2.0, np.nan, 4.0],
            "c": np.nan,
        }
    )
    found = per_task(frame, ["a", "b", "c"]).set_index("metric")
    assert found["iqm"].to_dict() == {"a": 3.0, "b": 3.0}
    assert found["seeds"].to_dict() == {"a": 3, "b": 2}
    assert found["values"].to_dict() == {"a": (1, 3, 5), "b": (2, 4)}
    assert found["lowest_seed"].to_dict() == {"a": 7, "b": 7}


def test_over_tasks_takes_the_last_round_of_each() -> None:
    rows = [("t", "o", 0, -9.0), ("t", "o", 1, 1.0), ("t", "o", 1, 2.0), ("u", "o", 2, 3.0), ("u", "o", 2, 4.0)]
    frame = pd.DataFrame(rows, columns=["task", "optimizer", "round", "normalized"])
    (row,) = over_tasks(frame, ["o"]).to_dict("records")
    assert (row["tasks"], row["seeds"], row["iqm"]) == (2, 4, pytest.approx(2.5))
    assert np.isnan([row[end] for end in ("low", "high", "tasks_low", "tasks_high")]).all()


def test_over_tasks_has_an_interval_of_these_tasks_and_one_of_tasks_like_these() -> None:
    """Seeds agree to a hundredth, tasks lie one apart."""
    rows = [(f"t{task}", "o", 0, task + seed / 100) for task in range(5) for seed in range(5)]
    frame = pd.DataFrame(rows, columns=["task", "optimizer", "round", "score"])
    (row,) = over_tasks(frame, ["o"]).to_dict("records")
    assert row["iqm"] == pytest.approx(2.02)
    assert row["high"] - row["low"] < 0.05
    half = 2.7764451051977934 * math.sqrt(2.5 / 5)  # of 0, 1, 2, 3, 4
    assert (row["tasks_low"], row["tasks_high"]) == pytest.approx((2.02 - half, 2.02 + half), rel=1e-9)


def test_over_tasks_leaves_out_who_was_not_run_on_all() -> None:
    rows = [("t", "o", 0, 1.0), ("u", "o", 0, 1.0), ("u", "p", 0, 2.0)]
    frame = pd.DataFrame(rows, columns=["task", "optimizer", "round", "normalized"])
    assert over_tasks(frame, ["o", "p"])["optimizer"].tolist() == ["o"]


def test_intervals_end_where_the_metric_does() -> None:
    shares = [0.0, 1.0, 1.0, 0.1, 0.9]
    table = pd.DataFrame(
        {"task": "toy", "optimizer": "sqdf", "round": 0, "queries": 8, "seed": range(5)}
        | {"validity": shares, "pairwise": shares, "reward_mean": shares}
    )
    ends = per_task(table, ["validity", "pairwise", "reward_mean"]).set_index("metric")[["low", "high"]]
    assert tuple(ends.loc["validity"]) == (0, 1)
    assert ends.loc["pairwise", "low"] == 0 and ends.loc["pairwise", "high"] > 1
    assert ends.loc["reward_mean", "low"] < 0 and ends.loc["reward_mean", "high"] == ends.loc["pairwise", "high"]
