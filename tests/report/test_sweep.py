"""A setting that an optimizer's runs differ in alone becomes the horizontal axis of a figure."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bbo_bench.report import write_report
from bbo_bench.report.runs import Run
from bbo_bench.report.sweep import sweep, sweeps


def run(label: str, **settings: object) -> Run:
    name = label.partition(" ")[0]
    return Run(Path(), "t", label, 0, {"optimizer": {"name": name, **settings}}, pd.DataFrame(), {})


def test_a_sweep_is_one_number_that_differs_alone() -> None:
    runs = [
        *(run(f"cascade ({n})", passes=n, step=0.4) for n in (3, 1, 2)),
        *(run(f"reinforce ({k})", truncation={"first": None, "last": k}) for k in (50, 5)),
        *(run(f"two ({n})", a=n, b=n) for n in (1, 2)),
        *(run(f"kl ({n})", kl_weight=n) for n in (1, 2)),
        *(run(f"words ({word})", credit=word) for word in ("x", "y")),
        run("alone", passes=1),
    ]
    assert {
        setting: {name: list(values.items()) for name, values in lines.items()}
        for setting, lines in sweeps(runs).items()
    } == {
        "passes": {"cascade": [("cascade (1)", 1), ("cascade (2)", 2), ("cascade (3)", 3)]},
        "truncation.last": {"reinforce": [("reinforce (5)", 5), ("reinforce (50)", 50)]},
    }


def test_lines_go_through_the_means_at_evenly_spaced_values() -> None:
    keys = [(f"a ({n})", metric) for n in (1, 10) for metric in ("reward_mean", "validity", "pairwise", "coherency")]
    rows = [
        {"optimizer": a, "metric": m, "iqm": i, "low": i - 1, "high": i + 1, "values": ()}
        for i, (a, m) in enumerate(keys)
    ]
    rows.append({"optimizer": "data", "metric": "validity", "iqm": 0.5})
    figure = sweep(pd.DataFrame(rows), "passes", {"a": {"a (1)": 1.0, "a (10)": 10.0}})
    assert [panel.get_ylabel() for panel in figure.axes][-1] == "coherency"
    line, level = figure.axes[1].lines
    assert line.get_xdata() == pytest.approx([0, 1])
    assert line.get_ydata() == pytest.approx([1, 5])
    assert level.get_ydata() == pytest.approx([0.5, 0.5])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "10"]


def test_a_report_has_it(make: Callable[..., Path], results: Path) -> None:
    for n in (1, 2):
        for seed in (0, 1):
            make("cascade", seed, {"reward_mean": np.full(4, n)}, experiment=f"passes_{n}", settings={"passes": n})
    page = write_report([results])
    assert "![toy_passes_sweep](toy_passes_sweep.png)" in page.read_text()
    assert (page.parent / "toy_passes_sweep.pdf").exists()
