"""A table of each task that fits the column of a page that has two, as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from bbo_bench.names import DATA, headline
from bbo_bench.report.families import Families
from bbo_bench.report.typeset import Cell, Cells, by_group, cell_of, columns_of, digits, escaped, slug

HEADINGS = {"score": "score", "reward_mean": "mean", "validity": "valid", "vendi": "Vendi"}
"""The columns."""
HIGHEST = ("score", "normalized", "reward_mean", "validity")
"""Those of which the highest value is the best, and set in bold."""
CAPTION = (
    r"interquartile means over seeds at the end of the budget; 95\% intervals below and above, the highest in bold."
)


class Column(NamedTuple):
    """A metric's heading, its number of decimals, and what is in bold: None where the highest is not the best."""

    heading: str
    decimals: int
    best: float | None


def latex(results: pd.DataFrame, families: Families, command: str) -> str:
    """A float for each task, for a document with the package booktabs."""
    tables = [_table(str(task), group, families) for task, group in results.groupby("task")]
    return "\n\n".join([f"% made by: {command}", *tables]) + "\n"


def _table(task: str, results: pd.DataFrame, families: Families) -> str:
    first = headline(results["metric"].unique())
    headings, cells = {first: first} | HEADINGS, _cells(results)
    columns = {
        metric: Column(heading, decimals, _best(metric, cells))
        for metric, (heading, decimals) in columns_of(headings, cells).items()
    }
    lines = [
        r"\begin{table}",
        r"\centering\scriptsize\setlength{\tabcolsep}{2pt}",
        rf"\caption{{{escaped(task)}: {CAPTION}}}",
        rf"\label{{tab:{slug(task)}}}",
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(columns)}@{{}}}}",
        r"\toprule",
        _row("", [escaped(column.heading) for column in columns.values()]),
        r"\midrule",
        *_body(by_group(cells, families).values(), columns),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _cells(results: pd.DataFrame) -> Cells:
    cells: Cells = {}
    for row in results.to_dict("records"):
        cells.setdefault(str(row["optimizer"]), {})[str(row["metric"])] = cell_of(row)
    return cells


def _best(metric: str, cells: Cells) -> float | None:
    values = [row[metric].value for name, row in cells.items() if name != DATA and metric in row]
    return max(values, default=None) if metric in HIGHEST else None


def _body(sections: Iterable[Cells], columns: dict[str, Column]) -> list[str]:
    """Rows, with some space between groups of methods."""
    lines: list[str] = []
    for cells in sections:
        lines += [r"\addlinespace"] if lines else []
        for name, row in cells.items():
            numbers = [_cell(row.get(metric), column, rival=name != DATA) for metric, column in columns.items()]
            lines.append(_row(escaped(name), numbers))
    return lines


def _cell(cell: Cell | None, column: Column, *, rival: bool) -> str:
    if cell is None:
        return "--"
    value, interval, _ = digits(cell, column.decimals)
    low, _, high = interval.partition(", ")
    if rival and cell.value == column.best:
        value = rf"\mathbf{{{value}}}"
    return f"${value}_{{{low}}}^{{{high}}}$" if interval else f"${value}$"


def _row(name: str, cells: Iterable[str]) -> str:
    return " & ".join([name, *cells]) + r" \\"
