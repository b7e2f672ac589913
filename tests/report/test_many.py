"""Reports of many optimizers: a row for each group of methods, and who is best in it."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from bbo_bench.report import highlights as named
from bbo_bench.report.families import Family
from bbo_bench.report.figures import curves, trade_off
from bbo_bench.report.highlights import chosen, highlights, spread
from bbo_bench.report.layout import theme
from bbo_bench.report.overview import _reach, overview, ranking
from bbo_bench.report.style import BEHIND, group_style, style

SCORES = {
    "prior_sampling": 0.0,
    "cma_es": 0.3,
    "turbo": 0.2,
    "sqdf": 0.4,
    **{"ddpo": 0.1, "ddpo_oracle": 0.35, "dpok": 0.15, "dpok_oracle": 0.25, "ppo_kl": 0.05, "ppo_kl_oracle": 0.45},
    **{"grpo": 0.6, "grpo_oracle": 0.55, "b2_diffurl": 0.5, "sdpo": 0.45, "score_as_action": 0.01},
}
NAMES = list(SCORES)
FAMILIES = {name: Family({name: 1.0}, "kl_weight") for name in NAMES} | {
    "ddpo": Family({"ddpo_kl_0.1": 0.1, "ddpo": 1.0}, "kl_weight")
}


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    rows = []
    for name, value in (SCORES | {"ddpo_kl_0.1": 0.9, "data": 0.5}).items():
        for metric in ("score", "reward_mean", "distinct_top", "validity", "pairwise", "hits_0.1", "hits_0.5"):
            rows.append((name, metric, value, value - 0.1, value + 0.1, ()))
    return pd.DataFrame(rows, columns=["optimizer", "metric", "iqm", "low", "high", "values"])


def legends(figure: Figure) -> dict[str, list[str]]:
    found = [legend for axes in figure.axes if (legend := axes.get_legend())]
    return {legend.get_title().get_text(): [text.get_text() for text in legend.get_texts()] for legend in found}


def dots(panel: Axes, color: str) -> int:
    """How many optimizers the colour shows."""
    faces = (collection.get_facecolor() for collection in panel.collections if len(collection.get_offsets()))
    return sum(len(face) > 0 and same_color(face[0], color) for face in faces)


def grey(panel: Axes) -> int:
    """How many lines, or marks, are drawn behind the others."""
    behind = (line for line in panel.lines if same_color(line.get_color(), BEHIND.color))
    return sum(int(np.isnan(line.get_xdata()).sum()) for line in behind)


def test_the_overview_is_sorted_and_leaves_sweeps_out(results: pd.DataFrame) -> None:
    assert ranking(results, NAMES)[:4] == ["grpo", "grpo_oracle", "b2_diffurl", "ppo_kl_oracle"]
    with theme():
        figure = overview(results, FAMILIES)
    assert figure is not None
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ranking(results, NAMES)
    assert labels[0].get_color() == group_style("ddpo").color
    bars = [line for line in figure.axes[0].lines if list(line.get_xdata()) == pytest.approx([0.5, 0.7])]
    assert [list(bar.get_ydata()) for bar in bars] == [[0, 0]]
    assert overview(results[results["metric"] != "score"], FAMILIES) is None


def test_each_group_has_a_row_and_a_large_one_is_parted_by_arms(results: pd.DataFrame) -> None:
    with theme():
        figure = trade_off(results, FAMILIES)
    rows = legends(figure)
    assert list(rows) == ["baselines", "SQDF", "policy gradient", "policy gradient _oracle"]
    assert rows["policy gradient _oracle"] == ["ddpo_oracle", "dpok_oracle", "ppo_kl_oracle", "grpo_oracle"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "prior_sampling (the prior)",
        "data",
        "all others",
    ]
    baselines, sqdf = figure.axes[0], figure.axes[3]  # two panels and a legend in a row
    assert dots(sqdf, style("sqdf").color) == 1
    assert grey(sqdf) == len(NAMES) - 2  # all but SQDF and the prior
    assert dots(baselines, style("sqdf").color) == 0
    assert baselines.get_ylim() == sqdf.get_ylim()


def test_curves_show_the_group_in_colour_and_the_prior_in_every_row() -> None:
    rows = [("reward_mean", name, q, q, 0, 1, ()) for name in NAMES for q in (8, 16)]
    estimates = pd.DataFrame(rows, columns=["metric", "optimizer", "queries", "iqm", "low", "high", "values"])
    with theme():
        figure = curves(estimates, pd.DataFrame({"reward_mean_reference": [0.5]}), FAMILIES)
    drawn = [[line.get_color() for line in figure.axes[row].lines] for row in (0, 2, 4, 6)]
    assert [colors.count(style("prior_sampling").color) for colors in drawn] == [1, 1, 1, 1]
    assert [grey(figure.axes[row]) for row in (0, 2, 4, 6)] == [12, 13, 7, 10]
    assert style("sqdf").color in drawn[1] and style("cma_es").color in drawn[0]


def test_the_gallery_takes_the_best_of_each_group(results: pd.DataFrame) -> None:
    best = chosen(NAMES, ranking(results, NAMES))
    assert best == {"prior_sampling": "prior", "cma_es": "baselines", "sqdf": "SQDF", "grpo": "policy gradient"}
    assert chosen(NAMES, []) == {
        "prior_sampling": "prior",
        "cma_es": "baselines",
        "sqdf": "SQDF",
        "ddpo": "policy gradient",
    }
    assert chosen(NAMES[:10], []) == dict.fromkeys(NAMES[:10], "")


def names(panel: Axes) -> list[str]:
    """What is named, beside the note on a scale that is none of the usual."""
    return sorted(text.get_text() for text in panel.texts if not text.get_text().startswith("log"))


def test_few_are_named_where_they_are_drawn_and_all_others_are_grey(results: pd.DataFrame) -> None:
    best = highlights(NAMES, ranking(results, NAMES))
    assert best == ["prior_sampling", "cma_es", "sqdf", "ppo_kl_oracle", "grpo", "grpo_oracle", "b2_diffurl"]
    with theme():
        points, counts = (draw(results, FAMILIES, best) for draw in (named.trade_off, named.hits))
    assert counts is not None
    for panel in (*points.axes, *counts.axes):
        assert names(panel) == sorted(best)
        assert grey(panel) == len(NAMES) - len(best)
    assert named.hits(results[~results["metric"].str.startswith("hits")], FAMILIES, best) is None


def test_names_move_apart_and_no_further() -> None:
    assert spread([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread([], 0.1) == []


def test_points_are_named_by_their_kl_weights(results: pd.DataFrame) -> None:
    few = {
        "ddpo": Family({"ddpo_kl_0.1": 0.1, "ddpo": 1.0}, "kl_weight"),
        "sqdf": Family({"sqdf": 0.3}, "kl_weight"),
    }
    with theme():
        figure = named.trade_off(results, few, list(few))
    assert names(figure.axes[0]) == ["0.1", "1", "ddpo", "sqdf"]


def test_runs_older_than_the_score_are_ordered_by_their_mean(results: pd.DataFrame) -> None:
    old = results[results["metric"] == "reward_mean"].replace("reward_mean", "normalized")
    assert ranking(old, NAMES) == ranking(results, NAMES)


@pytest.mark.parametrize(("value", "around"), [(2.0, 0.2), (0.0, 0.1), (-5.0, 0.5)])
def test_a_single_value_has_room_around_it(value: float, around: float) -> None:
    rows = pd.DataFrame([{"iqm": value, "low": np.nan, "high": np.nan}])
    assert _reach(rows, [value]) == pytest.approx((value - around, value + around))


def test_a_single_value_shows_its_whole_interval() -> None:
    rows = pd.DataFrame([{"iqm": 2.0, "low": 1.0, "high": 4.0}])
    assert _reach(rows, []) == pytest.approx((0.85, 4.15))
