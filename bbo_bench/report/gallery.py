"""Pictures of what each optimizer would ship, beside the prior's designs and real ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bbo_bench.core import Task
from bbo_bench.names import DATA, PRIOR, short
from bbo_bench.oracle import true_scores, validity
from bbo_bench.report.figures import DATA_COLOR
from bbo_bench.report.runs import Run, designs
from bbo_bench.report.style import group_style, style

COLUMNS = 6
WIDTH = 1.5
INVALID = "#B00020"


def gallery(task: Task, runs: Sequence[Run], optimizers: Mapping[str, str]) -> Figure | None:
    """A row of designs for the data, the prior and each optimizer's first kept run of one task; None without any.

    A row shows designs at even quantiles of the true score. `optimizers` maps a name to the title of its group, to be
    written below it, or to nothing.
    """
    rows = _rows(task, runs, optimizers)
    if len(rows) == 1:
        return None
    figure = Figure()
    grid = figure.add_gridspec(len(rows), COLUMNS)
    lines = zip(grid.subplots(squeeze=False), rows.items(), strict=True)
    heights = [_row(task, axes, name, optimizers.get(name, ""), x) for axes, (name, x) in lines]
    grid.set_height_ratios(heights)
    longest = max(map(len, [*map(short, rows), *optimizers.values()]))
    figure.set_size_inches(WIDTH * COLUMNS + 0.1 * longest, WIDTH * sum(heights) + 0.25 * len(rows))
    return figure


def _rows(task: Task, runs: Sequence[Run], optimizers: Iterable[str]) -> Mapping[str, Tensor]:
    rows = {DATA: _spread(task, task.reference())}
    for name in optimizers:
        kept = ((run, designs(run)) for run in runs if run.optimizer == name)
        run, arrays = next(((run, arrays) for run, arrays in kept if arrays), (None, None))
        if run is None or arrays is None:
            continue
        last = torch.as_tensor(arrays[f"recommended_{len(run.budget) - 1}"])
        if len(first := torch.as_tensor(arrays["queried_0"])):
            rows.setdefault("prior", _spread(task, first))  # round 0 asks the prior
        elif name == PRIOR:
            rows["prior"] = _spread(task, last)
        if name != PRIOR:
            rows[name] = _spread(task, last)
    return rows


def _spread(task: Task, x: Tensor) -> Tensor:
    """The designs in the middles of `COLUMNS` equal shares of a list that is sorted by true scores, the best first."""
    middles = (torch.arange(COLUMNS) + 0.5) / COLUMNS * len(x)
    return x[true_scores(task, x).argsort(descending=True, stable=True)[middles.long()]]


def _row(task: Task, axes: Sequence[Axes], name: str, group: str, x: Tensor) -> float:
    """Draw one row of designs; the height that it needs, in widths of a design."""
    score, valid = true_scores(task, x), validity(task, x)
    for i, panel in enumerate(axes):
        task.render(x[i].clone(), panel)
        panel.set_axis_off()
        words = f"{float(score[i]):.3g}" + ("" if valid[i] else " invalid")
        panel.set_title(words, fontsize=8, color="black" if valid[i] else INVALID, pad=2)
    look = group_style if group else style
    color = DATA_COLOR if name == DATA else look(PRIOR if name == "prior" else name).color
    place: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "color": color}
    axes[0].annotate(short(name), (-0.08, 0.5), va="bottom" if group else "center", fontweight="bold", **place)
    if group:
        axes[0].annotate(group, (-0.08, 0.45), va="top", fontsize=8, **place)
    return max(map(_height, axes))


def _height(panel: Axes) -> float:
    """Of a picture to scale, between a fifth and one and a half of its width; of another, two thirds."""
    if panel.get_aspect() == "auto":
        return 2 / 3
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    return min(max(abs((top - bottom) / (right - left)), 0.2), 1.5)
