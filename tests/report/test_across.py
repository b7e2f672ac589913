"""Views over tasks against values from their papers and by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import friedmanchisquare

from bbo_bench.report import write_report
from bbo_bench.report.across import across
from bbo_bench.report.blocks import Block, block
from bbo_bench.report.frame import frame
from bbo_bench.report.improvement import matrix, probabilities
from bbo_bench.report.layout import theme
from bbo_bench.report.profiles import profiles, shares
from bbo_bench.report.ranks import Ranks, diagram, groups, ranks
from bbo_bench.report.runs import find_runs
from bbo_bench.report.runtimes import distribution, expected, runtimes

Make = Callable[..., Path]
NAMES = ["cma_es", "sqdf", "ddpo"]


def blocks(tasks: int, *values: list[float]) -> Block:
    """The same values on each task, one list per optimizer."""
    return Block("score", NAMES[: len(values)], {f"t{i}": np.array(values) for i in range(tasks)})


@pytest.mark.parametrize(("optimizers", "quantile"), [(3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_demsars(optimizers: int, quantile: float) -> None:
    """Table 5a of Demšar (2006) has the quantiles of Nemenyi's test."""
    means = np.random.default_rng(0).normal(size=(14, optimizers))
    found = ranks(means)
    assert isinstance(found, Ranks)
    assert found.critical == pytest.approx(quantile * np.sqrt(optimizers * (optimizers + 1) / (6 * 14)), rel=3e-4)
    assert found.p == friedmanchisquare(*means.T).pvalue
    assert found.mean.mean() == pytest.approx((optimizers + 1) / 2)


def test_ranks_by_hand() -> None:
    found = ranks(np.array([[0.1, 0.2, 0.2], [0.3, 0.5, 0.4], [0.0, 0.9, 0.1]]))
    assert isinstance(found, Ranks)
    assert found.mean.tolist() == pytest.approx([3, (1.5 + 1 + 1) / 3, (1.5 + 2 + 2) / 3])
    alike = ranks(np.ones((3, 3)))
    assert isinstance(alike, Ranks) and alike.p == 1
    assert ranks(np.ones((2, 3))) == "ranks need 3 tasks and 3 optimizers that were run on all of them, got 2 and 3"


def test_bars_join_what_is_within_the_critical_difference() -> None:
    assert groups(np.array([1.0, 2.0, 3.5, 5.0, 5.1]), 2.0) == [(0, 1), (1, 2), (2, 4)]
    assert groups(np.array([1.0, 4.0]), 2.0) == []
    figure = diagram(blocks(3, [0.1, 0.2], [0.5, 0.6], [0.3, 0.4]))
    assert isinstance(figure, Figure)
    words = [text.get_text().strip() for text in figure.axes[0].texts]
    assert words == ["sqdf 1.0", "ddpo 2.0", "3.0 cma_es", words[-1]] and words[-1].startswith(
        "critical difference 1.91"
    )


def test_profiles_by_hand() -> None:
    mean, low, _ = shares(blocks(2, [0.2, 0.4], [0.6, 0.8]), np.array([0.0, 0.3, 0.6]))
    assert mean.tolist() == [[1, 0.5, 0], [1, 1, 0.5]]
    assert np.isnan(low).all()  # two tasks
    mean, low, high = shares(blocks(5, [0.2, 0.4], [0.6, 0.8]), np.array([0.3]))
    assert low[0, 0] < 0.5 < high[0, 0] and low[1, 0] == high[1, 0] == 1
    with theme():
        figure = profiles(blocks(5, [0.2, 0.4], [0.6, 0.8]), {name: {name: 1.0} for name in NAMES[:2]})
    line = figure.axes[0].lines[1]
    assert np.interp(0.7, line.get_xdata(), line.get_ydata()) == pytest.approx(0.5)


def test_who_beats_whom() -> None:
    found = probabilities(blocks(2, [0.2, 0.4], [0.4, 0.8]))
    assert found.tolist() == [[0.5, 0.125], [0.875, 0.5]]
    panel = matrix(blocks(2, [0.2, 0.4], [0.4, 0.8])).axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["sqdf", "cma_es"]
    assert [text.get_text() for text in panel.texts] == [".88", ".12"]


def test_blocks_have_all_seeds_and_the_tasks_that_all_have() -> None:
    values = {("t", "a"): {0: 1.0, 1: 2.0}, ("t", "b"): {1: 3.0, 2: 4.0}, ("u", "a"): {0: 5.0}, ("u", "b"): {0: 6.0}}
    rows = [(*key, seed, 0, y) for key, seeds in values.items() for seed, y in seeds.items()]
    rows.append(("t", "c", 1, 0, 9.0))
    frame = pd.DataFrame(rows, columns=["task", "optimizer", "seed", "round", "score"])
    found = block(frame, ["a", "b", "c"], "score")
    assert isinstance(found, Block)
    assert found.optimizers == ["a", "b"]
    np.testing.assert_array_equal(found.tasks["t"], [[1, 2, np.nan], [np.nan, 3, 4]])
    np.testing.assert_array_equal(found.tasks["u"], [[5], [6]])
    np.testing.assert_array_equal(found.means, [[1.5, 3.5], [5, 6]])
    assert probabilities(found)[1, 0] == 1
    share, _, _ = shares(found, np.array([1.5, 3.5]))
    np.testing.assert_array_equal(share, [[(0.5 + 1) / 2, 0.5], [1, (0.5 + 1) / 2]])
    assert block(frame, ["a", "c"], "score") == "fewer than two optimizers have score on all tasks"


def runs(make: Make, results: Path) -> None:
    """Of sqdf's two runs one reaches .5 after 448 queries; ddpo's never does."""
    for task in ("toy", "other", "third"):
        for name, ends in (("sqdf", (0.6, 0.4)), ("ddpo", (0.1, 0.2)), ("cma_es", (0.3, 0.3))):
            for seed, end in enumerate(ends):
                curve = [0.0, 0.1, end, end]
                make(name, seed, {"distinct_top": curve, "score": curve, "reward_mean": curve}, task=task)


def test_expected_runtimes_by_hand(make: Make, results: Path) -> None:
    runs(make, results)
    found = runtimes(find_runs([results]).complete, [0.5])
    times = expected(found).set_index(["task", "optimizer"])
    assert times.loc[("toy", "sqdf"), ["reached", "runs", "ert"]].tolist() == [1, 2, 448 + 960]
    assert times.loc[("toy", "ddpo"), ["reached", "runs", "ert"]].tolist() == [0, 2, np.inf]
    assert set(found["curve"]) == {"distinct_top"}  # the toy declares no scores to scale others by
    figure = distribution(found, {"sqdf": {"sqdf": 1.0}})
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.5, 0.5, 0.5]  # from 448 on


def test_a_report_over_tasks_has_them_all(make: Make, results: Path) -> None:
    runs(make, results)
    report = write_report([results])
    for name in ("profiles", "ranks", "improvement", "runtimes"):
        assert f"![{name}]({name}.png)" in report.read_text()
        assert (report.parent / f"{name}.pdf").exists()
    assert pd.read_csv(report.parent / "runtimes.csv")["ert"].min() > 0
    complete = [run for run in find_runs([results]).complete if run.task != "third"]
    assert isinstance(across(complete, frame(complete))["ranks"], str)


def test_who_was_spared_a_task_has_no_runtimes_over_tasks(make: Make, results: Path) -> None:
    runs(make, results)
    found = find_runs([results]).complete
    spared = [run for run in found if (run.task, run.optimizer) != ("third", "cma_es")]
    with theme():
        figure = distribution(runtimes(spared), {name: {name: 0.0} for name in ("sqdf", "ddpo", "cma_es")})
    names = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert "sqdf" in names and "cma_es" not in names
