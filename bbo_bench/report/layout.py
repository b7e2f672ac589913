"""Panels on a page: all optimizers in one panel per metric, or a row of panels for each group of methods."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bbo_bench.names import PRIOR, short
from bbo_bench.report.style import ARMS, BEHIND, arm_of, axis_label, grouped

MANY = 10
"""Optimizers that one panel can show."""
KEPT = ("backend", "backend_fallback", "toolbar", "interactive")
"""Settings of matplotlib that are of the session, not of a figure."""
DPI = 150
"""Dots of a PNG per inch."""
PANEL = (3.4, 2.6)
SMALL = (2.0, 1.7)
WIDE = 9
"""Width that a row of small panels has at least."""
LINE = 0.19
"""Height of a line in a legend."""

Draw = Callable[[Axes, str, Collection[str]], None]
"""Draws a metric: these optimizers and the prior in their own style, all others behind them in grey."""
Key = Callable[[str], Line2D]
"""An optimizer's entry in a legend."""


def theme() -> AbstractContextManager[None]:
    """Settings that hold while a figure is made and saved, whatever a plugin or a person has set before."""
    return mpl.rc_context(
        {
            **{key: value for key, value in mpl.rcParamsDefault.items() if key not in KEPT},
            "text.parse_math": False,
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E5E5E5",
            "lines.linewidth": 1.6,
            "lines.markersize": 5,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.w_pad": 0.08,
            "pdf.fonttype": 42,
        }
    )


def panels(draw: Draw, metrics: Sequence[str], names: Sequence[str], key: Key, marks: Sequence[Line2D]) -> Figure:
    """A panel per metric with all optimizers; where they are many, a row of such panels per group of methods."""
    return (_single if len(names) <= MANY else _rows)(draw, metrics, names, key, marks)


def legend(figure: Figure, keys: Sequence[Line2D]) -> None:
    """Below the panels, in as many columns as the longest name leaves room for."""
    longest = max(len(str(key.get_label())) for key in keys)
    columns = max(1, int(figure.get_figwidth() / (0.65 + 0.075 * longest)))
    figure.legend(handles=list(keys), loc="outside lower center", ncols=min(columns, len(keys)))


def _single(draw: Draw, metrics: Sequence[str], names: Sequence[str], key: Key, marks: Sequence[Line2D]) -> Figure:
    if len(metrics) == 1:
        return _alone(draw, metrics[0], names, key, marks)
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows + 0.9))
    for panel, metric in zip(figure.subplots(rows, columns, squeeze=False).flat, metrics, strict=False):
        draw(panel, metric, names)
        panel.set_ylabel(axis_label(metric))
    for panel in figure.axes[len(metrics) :]:
        panel.remove()
    figure.align_ylabels()
    legend(figure, [*map(key, names), *marks])
    return figure


def _alone(draw: Draw, metric: str, names: Sequence[str], key: Key, marks: Sequence[Line2D]) -> Figure:
    """One panel, with the legend beside it."""
    keys = [*map(key, names), *marks]
    beside = 0.7 + 0.075 * max(len(str(each.get_label())) for each in keys)
    figure = Figure(figsize=(5 + beside, max(3.3, 0.3 + 0.2 * len(keys))))
    panel = figure.subplots()
    draw(panel, metric, names)
    panel.set_ylabel(axis_label(metric))
    figure.legend(handles=keys, loc="outside right upper")
    return figure


def _rows(draw: Draw, metrics: Sequence[str], names: Sequence[str], key: Key, marks: Sequence[Line2D]) -> Figure:
    """Panels of a column share their limits; a row's legend is beside it."""
    groups = dict(_legible(name for name in names if name != PRIOR))
    heights = [max(SMALL[1], LINE * (len(members) + 2)) for members in groups.values()]
    widths = [max(SMALL[0], WIDE / len(metrics))] * len(metrics) + [
        0.4 + 0.075 * max(map(len, [*map(short, names), *groups]))
    ]
    figure = Figure(figsize=(sum(widths), sum(heights) + 1))
    grid = figure.subplots(
        *(len(groups), len(widths)),
        sharex="col",
        sharey="col",
        squeeze=False,
        gridspec_kw={"height_ratios": heights, "width_ratios": widths},
    )
    for row, (title, members) in zip(grid, groups.items(), strict=True):
        for panel, metric in zip(row, metrics, strict=False):
            draw(panel, metric, members)
        _legend_beside(row[-1], title, [key(name) for name in members])
    for panel, metric in zip(grid[0], metrics, strict=False):
        panel.set_title(axis_label(metric), fontsize="medium")
    for panel in grid[:-1].flat:
        panel.set_xlabel("")
    others = Line2D([], [], color=BEHIND.color, marker=BEHIND.marker, label="all others")
    legend(figure, [*(key(name) for name in names if name == PRIOR), *marks, others])
    return figure


def _legible(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Groups by their titles; one of many members is parted by their arms."""
    for title, members in grouped(names).items():
        if len(members) <= MANY:
            yield title, members
            continue
        arms = {arm: [name for name in members if arm_of(name) == arm] for arm in ("", *ARMS)}
        yield from ((f"{title} {arm}".strip(), names) for arm, names in arms.items() if names)


def _legend_beside(panel: Axes, title: str, keys: Sequence[Line2D]) -> None:
    panel.set_axis_off()
    bold = {"weight": "bold"}
    panel.legend(handles=list(keys), title=title, title_fontproperties=bold, loc="center left", alignment="left")
