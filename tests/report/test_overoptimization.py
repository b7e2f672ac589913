"""Score over distance from the prior: what is fitted is Gao, Schulman and Hilton's laws."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bbo_bench.report import write_report
from bbo_bench.report.overoptimization import figure, fit, peaks

NATS = np.array([1.0, 4.0, 9.0, 16.0, 36.0])
D = np.sqrt(NATS)
LAWS = {"sqdf": 2.0 + D * (1.5 - 0.8 * np.log(D)), "best_of_n": 2.0 + D * (1.5 - 0.2 * D)}
PEAKS = {"sqdf": np.exp(1.5 / 0.8 - 1), "best_of_n": 1.5 / 0.4}
TOPS = {"sqdf": 2.0 + 0.8 * np.exp(1.5 / 0.8 - 1), "best_of_n": 2.0 + 1.5**2 / 0.8}


def line(method: str, true: np.ndarray, **others: object) -> pd.DataFrame:
    columns = {"task": "toy", "method": method, "nats": NATS, "true": true, "predicted": true + NATS, "prior": 2.0}
    return pd.DataFrame(columns | {"validity": [1.0, 1.0, 1.0, 0.4, 0.1]} | others)


@pytest.mark.parametrize("method", LAWS)
def test_a_law_is_found_again_with_its_peak(method: str) -> None:
    found = fit(line(method, LAWS[method]))
    assert found is not None
    assert found.peak == pytest.approx(PEAKS[method])
    assert 2.0 + found.gain(D) == pytest.approx(LAWS[method])
    assert 2.0 + float(found.gain(np.array(found.peak))) == pytest.approx(TOPS[method])


def test_the_table_says_where_scores_are_highest_and_where_designs_collapse() -> None:
    found = peaks(pd.concat([line(method, true) for method, true in LAWS.items()])).set_index("method")
    for method, true in LAWS.items():
        row = found.loc[method]
        assert (row["nats"], row["score"]) == (NATS[true.argmax()], true.max())
        assert row["gap"] == pytest.approx(row["nats"]), "the prediction is as far above as there are nats"
        assert row["fitted_nats"] == pytest.approx(PEAKS[method] ** 2)
        assert row["fitted_score"] == pytest.approx(TOPS[method])
        assert row["collapse_nats"] == 16


@pytest.mark.parametrize("true", [2.0 + D, 2.0 - D, 2.0 + D * (1.5 + 0.3 * np.log(D))])
def test_a_peak_outside_what_was_measured_is_none(true: np.ndarray) -> None:
    assert np.isnan(peaks(line("sqdf", true))["fitted_nats"].iloc[0])


def test_no_law_without_the_priors_score_or_of_too_few_points() -> None:
    assert fit(line("sqdf", LAWS["sqdf"], prior=np.nan)) is None
    assert fit(line("sqdf", LAWS["sqdf"]).head(3)) is None


def test_a_panel_per_task_has_a_line_a_prediction_and_crosses() -> None:
    both = pd.concat([line(method, true) for method, true in LAWS.items()])
    drawn = figure(pd.concat([both, both.assign(task="other")]))
    assert [panel.get_title() for panel in drawn.axes] == ["toy", "other"]
    prior, true, predicted, gone, star = drawn.axes[0].lines[:5]
    assert prior.get_ydata() == pytest.approx([2.0, 2.0])
    assert true.get_xdata() == pytest.approx(D) and true.get_ydata() == pytest.approx(LAWS["sqdf"])
    assert predicted.get_ydata() == pytest.approx(LAWS["sqdf"] + NATS)
    assert gone.get_xdata() == pytest.approx([4.0, 6.0])
    assert star.get_xdata() == pytest.approx([PEAKS["sqdf"]])


def test_a_report_of_budgets_has_it(make: Callable[..., Path], results: Path) -> None:
    for nats, true in zip(NATS, LAWS["sqdf"], strict=True):
        settings = {"kl_weight": None, "kl_budget": float(nats)}
        metrics = {"reward_mean": np.full(4, true), "diagnostics.kl": np.full(4, nats), "proxy_gap": np.full(4, nats)}
        for seed in (0, 1):
            make("sqdf", seed, metrics, experiment=f"kl_{nats:g}", settings=settings)
    make("prior_sampling", 0, {"reward_mean": np.full(4, 2.0)})
    page = write_report([results])
    assert "![overoptimization](overoptimization.png)" in page.read_text()
    [row] = pd.read_csv(page.parent / "overoptimization_peaks.csv").to_dict("records")
    assert (row["method"], row["nats"]) == ("sqdf", NATS[LAWS["sqdf"].argmax()])
    assert row["fitted_nats"] == pytest.approx(PEAKS["sqdf"] ** 2)
    points = pd.read_csv(page.parent / "overoptimization.csv")
    assert points["seeds"].tolist() == [2] * 5 and points["strength"].tolist() == NATS.tolist()


def test_a_report_without_distances_has_it_not(make: Callable[..., Path], results: Path) -> None:
    make("sqdf", 0, {"reward_mean": np.full(4, 2.0)})
    assert "overoptimization" not in write_report([results]).read_text()
