"""The report as one file for a browser, which loads nothing."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bbo_bench.report import layout
from bbo_bench.report.page import APPENDIX, About, Pictures, caption
from bbo_bench.report.style import group_style
from bbo_bench.report.typeset import Table, text_cell

TRUE = ("gallery", "improvement")
"""Ends of the names of figures whose colours say something, and are not inverted."""
LEADS = "score"
"""The metric whose table is in its order, and open."""


class Picture(NamedTuple):
    """A figure, or the reason why there is none."""

    name: str
    caption: str
    data: str
    width: int
    """In pixels of a screen."""
    reason: str | None
    kind: str


class Row(NamedTuple):
    """A line of a table: texts, each with what it is sorted by, which is empty where there is nothing."""

    name: str
    group: str
    color: str
    cells: list[tuple[str, str, str]]


class Section(NamedTuple):
    """One task's part of the page."""

    title: str
    anchor: str
    pictures: list[Picture]
    tables: list[tuple[str, list[str], list[Row]]]


def html(about: About, pictures: Pictures, tables: Mapping[str, Sequence[Table]], folder: Path) -> str:
    """The page; figures are read from their PNG files in `folder`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    sections = [
        Section(
            task or "All tasks",
            f"section-{number}",
            [_picture(name, reason, folder) for name, reason in drawn.items()],
            [_table(task, table) for table in tables.get(task, [])],
        )
        for number, (task, drawn) in enumerate(pictures.items())
    ]
    return environment.get_template("report.html.j2").render(about=about, sections=sections)


def _code(words: str) -> Markup:
    """Words with what stands between backquotes as code."""
    return Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(escape(words))))


def _picture(name: str, reason: str | None, folder: Path) -> Picture:
    data = b"" if reason else (folder / f"{name}.png").read_bytes()
    width = int.from_bytes(data[16:20]) * 96 // layout.DPI  # a PNG's begins at its 17th byte
    kind = "appendix" if name.endswith(APPENDIX) else "gallery" if name.endswith(TRUE) else "plot"
    return Picture(name, caption(name), b64encode(data).decode(), width, reason, kind)


def _table(task: str, table: Table) -> tuple[str, list[str], list[Row]]:
    rows = [
        Row(
            name,
            group,
            group_style(name).color if group else "currentColor",
            [_cell(text_cell(cells.get(metric), decimals), cells.get(metric)) for metric, (_, decimals) in columns],
        )
        for columns in [list(table.columns.items())]
        for group, members in table.sections.items()
        for name, cells in members.items()
    ]
    if LEADS in table.columns:
        place = list(table.columns).index(LEADS)
        rows.sort(key=lambda row: -float(row.cells[place][2] or "-inf"))
    title = table.title.removeprefix(f"{task}: ")
    return title, [heading for heading, _ in table.columns.values()], rows


def _cell(text: str, values: Sequence[object] | None) -> tuple[str, str, str]:
    """The value, its spread, and the number that it is sorted by."""
    value, _, spread = text.partition(" ")
    return value, spread, str(values[0]) if values else ""
