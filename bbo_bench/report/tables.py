"""Tables of results and costs: CSV, LaTeX with booktabs, plain text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import floor, log10

import numpy as np
import pandas as pd

from bbo_bench.report.aggregate import ESTIMATE
from bbo_bench.report.names import DATA, GROUPS, METRICS, reference
from bbo_bench.report.runs import Run

PHASES = ["ask", "oracle", "tell", "evaluation"]
Cells = dict[str, dict[str, list[float]]]
"""By optimizer and metric: interquartile mean and both ends of the interval, or the one value of the data."""


def results(estimates: pd.DataFrame, table: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Every metric at the end of the budget, in tidy form: task, optimizer, metric, iqm, low, high, seeds.

    The task's reference designs are the optimizer `data`.
    """
    last = estimates[estimates["round"] == estimates.groupby("task")["round"].transform("max")]
    parts = [last[["task", "optimizer", "metric", *ESTIMATE]]]
    for task, group in table.groupby("task"):
        known = [metric for metric in METRICS if reference(metric) in group]
        means = [group[reference(metric)].mean() for metric in known]
        parts.append(pd.DataFrame({"task": task, "optimizer": DATA, "metric": known, "iqm": means}))
    whole = pd.concat(parts)
    ranks = {"optimizer": [*order, DATA], "metric": METRICS}
    keys = {key: pd.Categorical(whole[key], categories=values, ordered=True) for key, values in ranks.items()}
    return whole.assign(**keys).sort_values(["task", "optimizer", "metric"], ignore_index=True)


def cost(runs: Iterable[Run], order: Sequence[str]) -> pd.DataFrame:
    """Mean seconds of a run by phase, the harness's share of them in percent, and the largest peak memory in MB.

    The harness is what is left of the total without ask, oracle, tell and evaluation: start-up and commits, of which
    the last is not measured.
    """
    rows = []
    for run in runs:
        seconds = pd.DataFrame(run.provenance["seconds"]).sum()
        harness = seconds["total"] - seconds[PHASES].sum()
        row = {"task": run.task, "optimizer": run.optimizer, **seconds[[*PHASES, "total"]]}
        rows.append(row | {"harness_percent": 100 * harness / seconds["total"], "peak_mb": run.provenance["peak_mb"]})
    how = dict.fromkeys([*PHASES, "total", "harness_percent"], "mean") | {"peak_mb": "max"}
    whole = pd.DataFrame(rows)
    whole["optimizer"] = pd.Categorical(whole["optimizer"], categories=list(order), ordered=True)
    return whole.groupby(["task", "optimizer"], observed=True).agg(how).reset_index()


def latex(results: pd.DataFrame, command: str) -> str:
    """A table for each task and group of metrics; the document needs the package booktabs."""
    blocks = [f"% made by: {command}"]
    for task, group in results.groupby("task"):
        blocks += [_latex(str(task), title, headings, _cells(group, headings)) for title, headings in GROUPS.items()]
    return "\n\n".join(block for block in blocks if block) + "\n"


def text(results: pd.DataFrame) -> str:
    """The same for a terminal."""
    blocks = []
    for task, group in results.groupby("task"):
        for title, headings in GROUPS.items():
            cells = _cells(group, headings)
            if cells:
                blocks.append(f"{task}: {title}\n{_text(headings, cells)}")
    return "\n\n".join(blocks)


def cost_text(costs: pd.DataFrame) -> str:
    """The table of costs for a terminal."""
    headings = {"harness_percent": "harness %", "peak_mb": "peak MB"} | {key: f"{key} s" for key in [*PHASES, "total"]}
    return str(costs.rename(columns=headings).to_string(index=False, float_format="{:.1f}".format))


def over_text(over: pd.DataFrame, order: Iterable[str]) -> str:
    """Scores over all tasks for a terminal, and who of `order` is not among them."""
    lines = ["all tasks: normalized mean score"]
    if not over.empty:
        lines.append(over.to_string(index=False, float_format="{:.2f}".format, na_rep="-"))
    missing = [name for name in order if name not in set(over["optimizer"])]
    if missing:
        lines.append(f"not run on all tasks, and left out here: {', '.join(missing)}")
    return "\n".join(lines)


def _cells(group: pd.DataFrame, metrics: Iterable[str]) -> Cells:
    cells: Cells = {}
    group = group[group["metric"].isin(metrics)]
    keys = group[["optimizer", "metric"]].astype(str).to_numpy()
    for (optimizer, metric), values in zip(keys, group[ESTIMATE[:3]].to_numpy(float), strict=True):
        cells.setdefault(optimizer, {})[metric] = values[~np.isnan(values)].tolist()
    return cells


def _columns(metrics: Mapping[str, str], cells: Cells) -> dict[str, tuple[str, int]]:
    """Heading and number of decimals of the metrics that have a value."""
    found = {metric: [value for row in cells.values() for value in row.get(metric, [])] for metric in metrics}
    return {metric: (metrics[metric], _decimals(values)) for metric, values in found.items() if values}


def _decimals(values: Sequence[float]) -> int:
    """So that the largest value has three digits, two where it is below 1, and one at least is after the point."""
    largest = max((abs(value) for value in values if np.isfinite(value)), default=0.0)
    return min(max(1 + (largest >= 1) - floor(log10(largest)), 1), 6) if largest else 1


def _text(metrics: Mapping[str, str], cells: Cells) -> str:
    columns = _columns(metrics, cells)
    lines = [["", *(heading for heading, _ in columns.values())]]
    for name, row in cells.items():
        lines.append([name, *(_text_cell(row.get(metric), decimals) for metric, (_, decimals) in columns.items())])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _text_cell(values: list[float] | None, decimals: int) -> str:
    if not values:
        return "-"
    iqm, *interval = (f"{value:.{decimals}f}" for value in values)
    return f"{iqm} [{', '.join(interval)}]" if interval else iqm


def _latex(task: str, title: str, metrics: Mapping[str, str], cells: Cells) -> str:
    if not cells:
        return ""
    columns = _columns(metrics, cells)
    lines = [" & ".join(["", *(_escape(heading) for heading, _ in columns.values())]) + r" \\", r"\midrule"]
    for name, row in cells.items():
        values = [_latex_cell(row.get(metric), decimals) for metric, (_, decimals) in columns.items()]
        lines.append(" & ".join([_escape(name), *values]) + r" \\")
    caption = f"{task}. {title}, at the end of the budget: interquartile mean over seeds, 95% bootstrap interval."
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escape(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_cell(values: list[float] | None, decimals: int) -> str:
    if not values:
        return "--"
    iqm, *interval = (f"{value:.{decimals}f}" for value in values)
    return f"${iqm}$" + (rf" {{\scriptsize $[{', '.join(interval)}]$}}" if interval else "")


def _escape(words: str) -> str:
    for character in "_%&#":
        words = words.replace(character, f"\\{character}")
    return words
