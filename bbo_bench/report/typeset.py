"""Tables as plain text and as LaTeX: a section per group of methods; KL weights or budgets of a method on their own."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import floor, log10
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bbo_bench.names import DATA, GROUPS, OWN, headline, own
from bbo_bench.report.families import WORD, Families, distinct
from bbo_bench.report.runs import PHASES
from bbo_bench.report.style import axis_label, grouped


class Cell(NamedTuple):
    """A value; beside it both ends of its interval, or the values of seeds that are too few for one."""

    value: float
    interval: tuple[float, ...] = ()
    seeds: tuple[float, ...] = ()


Cells = dict[str, dict[str, Cell]]
"""By optimizer and metric."""
SEED_COLUMNS = {
    "iqm": ("mean", None),
    "lowest": ("lowest", None),
    "lowest_seed": ("of seed", 0),
    "seeds": ("seeds", 0),
    "below_prior": ("share below the prior", 2),
}
"""Headings of the table of seeds, and numbers of decimals where they are not the values'."""
SPECIAL = {character: f"\\{character}" for character in "_%&#${}"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}
"""What LaTeX reads otherwise."""
COSTS = {key: f"{key} s" for key in [*PHASES, "total"]} | {"harness_percent": "harness %", "peak_mb": "peak MB"}


class Table(NamedTuple):
    """A title, headings and numbers of decimals by metric, and rows by section; the section "" has no title."""

    title: str
    columns: dict[str, tuple[str, int]]
    sections: dict[str, Cells]


def result_tables(results: pd.DataFrame, families: Families) -> list[Table]:
    """For each task a table of the optimizers for each group of metrics, and below one of KL weights or budgets."""
    tables = []
    groups = GROUPS | {OWN: {metric: axis_label(metric) for metric in own(results["metric"].unique())}}
    for task, group in results.groupby("task"):
        swept = []
        parts = {f"Seeds: {headline(group['metric'].unique())}": _seeds(group)}
        for title, headings in groups.items():
            cells: Cells = {}
            for row in group[group["metric"].isin(headings)].to_dict("records"):
                cells.setdefault(str(row["optimizer"]), {})[str(row["metric"])] = cell_of(row)
            parts[title] = columns_of(headings, cells), cells
        for title, (columns, cells) in parts.items():
            tables.append(Table(f"{task}: {title}", columns, by_group(cells, families)))
            swept.append(Table(f"{task}: {title}, by KL weight or budget", columns, _weights(cells, families)))
        tables += swept
    return [table for table in tables if table.sections]


def cost_tables(costs: pd.DataFrame, families: Families) -> list[Table]:
    """For each task, the optimizers' seconds and memory."""
    tables = []
    for task, group in costs.groupby("task"):
        rows = group.set_index("optimizer")[list(COSTS)]
        cells = {
            str(name): {str(key): Cell(float(value)) for key, value in row.items()} for name, row in rows.iterrows()
        }
        columns = {key: (heading, 1) for key, heading in COSTS.items()}
        tables.append(Table(f"{task}: cost of a run", columns, by_group(cells, families)))
    return tables


def by_task(task: str, results: pd.DataFrame, costs: pd.DataFrame, families: Families) -> list[Table]:
    """All tables of one task."""
    of_results = result_tables(results[results["task"] == task], families)
    return [*of_results, *cost_tables(costs[costs["task"] == task], families)]


def text(tables: Iterable[Table]) -> str:
    """Tables for a terminal."""
    return "\n\n".join(map(_text, tables))


def latex(tables: Iterable[Table], command: str) -> str:
    """Tables for a document, which needs the packages booktabs and longtable."""
    return "\n\n".join([f"% made by: {command}", *map(_latex, tables)]) + "\n"


def over_text(over: pd.DataFrame, order: Iterable[str], metric: str) -> str:
    """A metric over all tasks for a terminal, and who of `order` is not among them."""
    lines = [f"all tasks: {axis_label(metric)}"]
    if not over.empty:
        lines.append(over.to_string(index=False, float_format="{:.2f}".format, na_rep="-"))
    missing = [name for name in order if name not in set(over["optimizer"])]
    if missing:
        lines.append(f"not run on all tasks, and left out here: {', '.join(missing)}")
    return "\n".join(lines)


def _seeds(results: pd.DataFrame) -> tuple[dict[str, tuple[str, int]], Cells]:
    """Of each optimizer the seed that came out worst by the headline, which an interquartile mean leaves out."""
    rows = results[(results["metric"] == headline(results["metric"].unique())) & (results["optimizer"] != DATA)]
    decimals = _decimals(rows[["iqm", "lowest"]].to_numpy(float).ravel().tolist())
    columns = {key: (heading, decimals if count is None else count) for key, (heading, count) in SEED_COLUMNS.items()}
    keys = [key for key in columns if rows[key].notna().any()]
    cells = {
        str(row["optimizer"]): {key: Cell(float(row[key])) for key in keys if pd.notna(row[key])}
        for row in rows.to_dict("records")
    }
    return {key: columns[key] for key in keys}, cells


def cell_of(row: Mapping[Hashable, Any]) -> Cell:
    """The reference designs have a value alone."""
    interval = () if np.isnan(row["low"]) else (float(row["low"]), float(row["high"]))
    seeds = row["values"] if not interval and isinstance(row["values"], tuple) and len(row["values"]) > 1 else ()
    return Cell(float(row["iqm"]), interval, seeds)


def by_group(cells: Cells, families: Families) -> dict[str, Cells]:
    """One optimizer of each family whose base was run, all of others, by group, and the data."""
    sections = {
        group: _chosen(cells, {name: name for name in names}) for group, names in grouped(distinct(families)).items()
    }
    sections[""] = _chosen(cells, {DATA: DATA})
    return {title: rows for title, rows in sections.items() if rows}


def _weights(cells: Cells, families: Families) -> dict[str, Cells]:
    """By the base's name, the optimizers that differ in their KL weight or budget."""
    return {
        base: _chosen(cells, {name: weighted(name, weight, family.word) for name, weight in family.items()})
        for base, family in families.items()
        if base in family and any(name != base and name in cells for name in family)
    }


def weighted(name: str, weight: float, word: str | None) -> str:
    """A name that says the KL weight or budget."""
    return name if WORD.search(name) else f"{name} ({word}={weight:g})"


def _chosen(cells: Cells, labels: Mapping[str, str]) -> Cells:
    return {label: cells[name] for name, label in labels.items() if name in cells}


def columns_of(metrics: Mapping[str, str], cells: Cells) -> dict[str, tuple[str, int]]:
    """Heading and number of decimals of the metrics that have a value."""
    found = {
        metric: [
            value for row in cells.values() if metric in row for value in (row[metric].value, *row[metric].interval)
        ]
        for metric in metrics
    }
    return {metric: (metrics[metric], _decimals(values)) for metric, values in found.items() if values}


def _decimals(values: Sequence[float]) -> int:
    """So that the largest value has three digits, two where it is below 1, and one at least is after the point."""
    largest = max((abs(value) for value in values if np.isfinite(value)), default=0.0)
    return min(max(1 + (largest >= 1) - floor(log10(largest)), 1), 6) if largest else 1


def _text(table: Table) -> str:
    lines = [["", *(heading for heading, _ in table.columns.values())]]
    for section, rows in table.sections.items():
        lines += [[section]] if section else []
        indent = "  " if section else ""
        for name, row in rows.items():
            values = (text_cell(row.get(metric), decimals) for metric, (_, decimals) in table.columns.items())
            lines.append([indent + name, *values])
    full = [[*line, *[""] * (len(lines[0]) - len(line))] for line in lines]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    return "\n".join([table.title, *("  ".join(map(str.ljust, line, widths)).rstrip() for line in full)])


def text_cell(cell: Cell | None, decimals: int) -> str:
    """A value with its interval in brackets or its seeds in braces, or a dash."""
    if cell is None:
        return "-"
    value, interval, seeds = digits(cell, decimals)
    return value + (f" [{interval}]" if interval else "") + (f" {{{seeds}}}" if seeds else "")


def digits(cell: Cell, decimals: int) -> tuple[str, str, str]:
    """The value, the interval and the seeds, the latter two with commas or empty."""
    value, interval, seeds = ([f"{number:.{decimals}f}" for number in part] for part in ([cell.value], *cell[1:]))
    return value[0], ", ".join(interval), ", ".join(seeds)


def _latex(table: Table) -> str:
    width = len(table.columns) + 1
    rows = []
    for section, cells in table.sections.items():
        rows += [rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escaped(section)}}}}} \\*"] if section else [r"\addlinespace"]
        indent = r"\quad " if section else ""
        for name, row in cells.items():
            values = (_latex_cell(row.get(metric), decimals) for metric, (_, decimals) in table.columns.items())
            rows.append(" & ".join([indent + escaped(name), *values]) + r" \\")
    caption = f"{table.title}, at the end of the budget: interquartile mean over seeds, 95% interval of a trimmed t."
    headings = " & ".join(["", *(escaped(heading) for heading, _ in table.columns.values())])
    head = [r"\toprule", rf"{headings} \\", r"\midrule"]
    lines = [
        rf"\begin{{longtable}}{{l{'r' * len(table.columns)}}}",
        rf"\caption{{{escaped(caption)}}}\label{{tab:all-{slug(table.title)}}} \\",
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
        *rows,
        r"\end{longtable}",
    ]
    return "\n".join(lines)


def _latex_cell(cell: Cell | None, decimals: int) -> str:
    if cell is None:
        return "--"
    value, interval, seeds = digits(cell, decimals)
    spread = f"[{interval}]" if interval else rf"\{{{seeds}\}}" if seeds else ""
    return f"${value}$" + (rf" {{\scriptsize ${spread}$}}" if spread else "")


def slug(words: str) -> str:
    """Words as a label has them: letters and numbers, joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", words.lower()))


def escaped(words: str) -> str:
    """Words as LaTeX has them."""
    return "".join(SPECIAL.get(character, character) for character in words)
