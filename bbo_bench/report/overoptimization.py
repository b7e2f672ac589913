"""Score against distance from the prior, as Gao, Schulman and Hilton (2023) draw it for language models.

The distance d is √KL in nats. Their laws say of the true score what it gains over the prior's: d (a - b d) for the best
of N, d (a - b log d) for reinforcement learning. Over-optimization is that it falls where the proxy's prediction rises.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bbo_bench.names import NATS, PRIOR
from bbo_bench.report.aggregate import Floats, at_the_end
from bbo_bench.report.families import families
from bbo_bench.report.figures import key
from bbo_bench.report.runs import Run
from bbo_bench.report.style import style

REFERENCE = "best_of_n"
"""The method whose law is the other one, and whose distance is known beforehand."""
ENOUGH = 3
"""Distances of a method from which on it is a line; a law of two parameters asks for more."""
COLLAPSED = 0.5
"""Validity below which designs are no longer real."""
PANEL = (4.0, 3.1)
COLUMNS = 3
REACH = 1.3
"""How far the axis of scores goes beyond the true ones, where a proxy predicts more."""


class Fit(NamedTuple):
    """A law of the score's gain over the prior's, by least squares, and where it is highest."""

    a: float
    b: float
    best_of_n: bool

    def gain(self, d: Floats) -> Floats:
        """The law at distances."""
        return d * (self.a - self.b * _growth(d, self.best_of_n))

    @property
    def peak(self) -> float:
        """The distance of the highest gain; infinite where the law never falls, 0 where it never rises."""
        if self.b <= 0:
            return np.inf if self.a > 0 or self.b < 0 else 0.0
        return max(self.a / (2 * self.b), 0.0) if self.best_of_n else float(np.exp(min(self.a / self.b - 1, 700.0)))


def distances(runs: Iterable[Run], table: pd.DataFrame) -> pd.DataFrame:
    """A row per task, method and strength with a known divergence, ascending; empty where there is no sweep of them.

    Columns: task, method, optimizer (its label), strength (the KL weight or budget), nats, true (the mean score),
    predicted (the proxy's), validity, prior (the mean score of the prior), means over seeds, and `seeds`.

    Args:
        runs: Of any tasks.
        table: A row per run and round.
    """
    runs = list(runs)
    if NATS not in table:
        return pd.DataFrame()
    kin = families(runs)
    last = at_the_end(table)
    last = last[last[NATS].notna() & last["reward_mean"].notna()]
    prior = _prior(runs, table)
    rows = []
    for base, family in kin.items():
        of_family = last[last["optimizer"].isin(list(family))]
        for task, found in of_family.groupby("task", sort=False):
            if found["optimizer"].nunique() < ENOUGH:
                continue
            for label, each in found.groupby("optimizer", sort=False):
                rows.append(
                    {
                        **{"task": task, "method": base, "optimizer": label, "strength": family[str(label)]},
                        "nats": each[NATS].mean(),
                        "true": each["reward_mean"].mean(),
                        "predicted": (each["reward_mean"] + each["proxy_gap"]).mean(),
                        "validity": each["validity"].mean(),
                        "prior": prior.get(str(task), np.nan),
                        "seeds": len(each),
                    }
                )
    return pd.DataFrame(rows).sort_values(["task", "method", "nats"], ignore_index=True) if rows else pd.DataFrame()


def peaks(found: pd.DataFrame) -> pd.DataFrame:
    """For each task and method: where the true score was highest, what the law says of it, and where designs collapsed.

    Columns: `nats`, `score` and `gap` (the proxy's prediction above it) at the highest of the measured scores;
    `fitted_nats` and `fitted_score` at the law's peak, NaN where it lies outside what was measured; `a`, `b`; and
    `collapse_nats`, the least at which fewer than half of the designs are valid, NaN where there is none.
    """
    rows = []
    for (task, method), line in found.groupby(["task", "method"], sort=False):
        best = line.sort_values("true").iloc[-1]
        law = fit(line)
        nearest, furthest = np.sqrt(line["nats"].to_numpy(float))[[0, -1]]
        top = law.peak if law is not None and nearest <= law.peak <= furthest else np.nan
        collapsed = line.loc[line["validity"] < COLLAPSED, "nats"]
        rows.append(
            {
                **{"task": task, "method": method, "nats": best["nats"], "score": best["true"]},
                "gap": best["predicted"] - best["true"],
                "fitted_nats": top**2,
                "fitted_score": line["prior"].iloc[0] + float(law.gain(np.array(top))) if law else np.nan,
                "a": law.a if law else np.nan,
                "b": law.b if law else np.nan,
                "collapse_nats": collapsed.min() if len(collapsed) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def fit(line: pd.DataFrame) -> Fit | None:
    """The law of one task's method, or None where the prior's score is not known or points are too few."""
    known = line[line["nats"] > 0]
    d, gain = np.sqrt(known["nats"].to_numpy(float)), (known["true"] - known["prior"]).to_numpy(float)
    if len(d) <= ENOUGH or not np.isfinite(gain).all():
        return None
    best_of_n = str(line["method"].iloc[0]).startswith(REFERENCE)
    (a, b), *_ = np.linalg.lstsq(np.stack([d, -d * _growth(d, best_of_n)], 1), gain, rcond=None)
    return Fit(float(a), float(b), best_of_n)


def figure(found: pd.DataFrame) -> Figure:
    """A panel per task: true score and the proxy's prediction over √KL, a line per method."""
    tasks, methods = found["task"].unique().tolist(), found["method"].unique().tolist()
    columns = min(COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    keys = [*(key(name, "-") for name in methods), *_marks()]
    beside = 0.7 + 0.075 * max(len(str(each.get_label())) for each in keys)
    drawn = Figure(figsize=(PANEL[0] * columns + beside, max(PANEL[1] * rows, 0.3 + 0.2 * len(keys))))
    grid = drawn.subplots(rows, columns, squeeze=False).flat
    for panel, task in zip(grid, tasks, strict=False):
        _panel(panel, found[found["task"] == task])
        panel.set(title=task, xlabel="distance from the prior, √nats", ylabel="mean score, recommended")
    for panel in drawn.axes[len(tasks) :]:
        panel.remove()
    drawn.legend(handles=keys, loc="outside right upper")
    return drawn


def text(table: pd.DataFrame) -> str:
    """The table of `peaks` for a terminal."""
    shown = table.drop(columns=["a", "b"]).rename(columns=lambda name: name.replace("_", " "))
    body = shown.to_string(index=False, float_format="{:.3g}".format, na_rep="-")
    return f"score over distance from the prior: where it is highest, in nats\n{body}"


def _panel(panel: Axes, lines: pd.DataFrame) -> None:
    prior = lines["prior"].iloc[0]
    panel.axhline(prior, color=style(PRIOR).color, linestyle=":", zorder=1)
    for method, line in lines.groupby("method", sort=False):
        look, d = style(str(method)), np.sqrt(line["nats"].to_numpy(float))
        thick = 2.4 if str(method).startswith(REFERENCE) else 1.4
        own: dict[str, Any] = {"color": look.color, "marker": look.marker}
        panel.plot(d, line["true"], **own, markerfacecolor=look.face, linewidth=thick, markersize=4)
        panel.plot(d, line["predicted"], color=look.color, linestyle=":", linewidth=1, alpha=0.8)
        gone = (line["validity"] < COLLAPSED).to_numpy()
        panel.plot(d[gone], line["true"][gone], "x", color="#B00000", markersize=8, markeredgewidth=1.6, zorder=6)
        law = fit(line)
        if law is not None and d.min() <= law.peak <= d.max():
            top = prior + law.gain(np.array(law.peak))
            panel.plot(law.peak, top, "*", color=look.color, markersize=11, markeredgecolor="white", zorder=7)
    known = np.array([*lines["true"], *([prior] if np.isfinite(prior) else [])])
    low, high = known.min(), known.max()
    wanted = min(np.nanmax([high, *lines["predicted"]]), low + REACH * max(high - low, 1e-9))
    margin = 0.05 * max(wanted - low, 1e-9)
    panel.set(xlim=(0, None), ylim=(low - margin, wanted + margin))


def _marks() -> list[Line2D]:
    marks: list[tuple[str, dict[str, Any]]] = [
        ("the proxy's prediction", {"linestyle": ":"}),
        ("fitted peak", {"marker": "*", "linestyle": "", "markersize": 10}),
        ("collapse: less than half valid", {"marker": "x", "linestyle": "", "color": "#B00000"}),
    ]
    return [Line2D([], [], **{"color": "#444444"} | look, label=label) for label, look in marks]


def _growth(d: Floats, best_of_n: bool) -> Floats:
    return d if best_of_n else np.log(np.maximum(d, 1e-12))


def _prior(runs: Iterable[Run], table: pd.DataFrame) -> dict[str, float]:
    """The prior's mean score on every task: measured, or as the task declares it."""
    declared = {run.task: run.config["task"].get("y_prior") for run in runs}
    measured = table[table["optimizer"] == PRIOR].groupby("task")["reward_mean"].mean().to_dict()
    return {task: float(measured.get(task, np.nan if value is None else value)) for task, value in declared.items()}
