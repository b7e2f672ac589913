"""A page of runs that are still under way: how far they are, and their curves up to now, renewed while one looks."""

from __future__ import annotations

import time
import warnings
from base64 import b64encode
from collections.abc import Collection, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from bbo_bench.report.aggregate import spent, unit
from bbo_bench.report.document import write_report
from bbo_bench.report.figures import background, key, look_of
from bbo_bench.report.layout import panels, theme
from bbo_bench.report.style import BEHIND, style
from bbo_bench.status import status, survey
from bbo_bench.untrusted import DAMAGE

METRICS = ("score", "best", "reward_mean", "validity", "elbo_z", "pairwise")
"""What is drawn of a task, where it is known."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{seconds}"><title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }}
pre {{ overflow-x: auto; background: #8881; padding: 1em }} img {{ max-width: 100%; background: white }}</style></head>
<body><h1>{title}</h1><pre>{status}</pre>{pictures}
<p>Made at {now}, from the rounds that are committed; the report takes its place when all runs are complete.</p>
</body></html>
"""


def watch(folders: Sequence[Path], out: Path | None = None, every: float = 5.0) -> Path:
    """Renew `report.html` until all runs are complete, or have failed; then write the report.

    Args:
        folders: Of runs, or above them.
        out: Where to write; None is `report` in the first folder.
        every: Seconds between two looks.

    Returns:
        The page.

    Raises:
        ReportError: If at the end no run is complete.
    """
    seen: dict[Path, int] = {}
    while True:
        runs = survey(folders)
        if not any(run.state in ("running", "to come") for run in runs):
            return write_report(folders, out)
        sizes = {run.folder: len(run.seconds) for run in runs}
        if sizes != seen:
            seen = sizes
            page = write_live(folders, out, every)
            print(f"{time.strftime('%H:%M:%S')} {sum(sizes.values())} rounds: {page}", flush=True)
        time.sleep(every)


def write_live(folders: Sequence[Path], out: Path | None = None, every: float = 5.0) -> Path:
    """Write `report.html` of the rounds that are committed now.

    Returns:
        The page.
    """
    out = out or folders[0] / "report"
    out.mkdir(parents=True, exist_ok=True)
    pictures = "".join(
        f'<h2>{escape(str(task))}</h2><img alt="curves" src="data:image/png;base64,{_drawn(rows)}">'
        for task, rows in so_far(folders).groupby("task")
    )
    text = PAGE.format(
        seconds=max(1, round(every)),
        title=escape(" ".join(folder.name for folder in folders)),
        status=escape(status(folders)),
        pictures=pictures,
        now=time.strftime("%H:%M:%S"),
    )
    page, part = out / "report.html", out / ".report.html.part"
    part.write_text(text, encoding="utf-8")
    part.replace(page)
    return page


def so_far(folders: Sequence[Path]) -> pd.DataFrame:
    """The metrics of all committed rounds, of whatever runs there are: a row per run and round."""
    tables = []
    for run in survey(folders):
        if not (file := run.folder / "metrics.csv").exists():
            continue  # its first round is to come
        try:
            table = pd.read_csv(file)
        except DAMAGE as error:
            warnings.warn(f"{file} cannot be read, and is not drawn: {error}", RuntimeWarning, stacklevel=2)
            continue
        task, optimizer = run.pair
        tables.append(table.assign(task=task, optimizer=optimizer, run=str(run.folder)))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["task", "optimizer", "run"])


def _drawn(rows: pd.DataFrame) -> str:
    """Curves of one task, a line per run, as a PNG in base 64."""
    metrics = [metric for metric in METRICS if metric in rows and rows[metric].notna().any()]

    def draw(panel: Axes, metric: str, members: Collection[str]) -> None:
        for (optimizer, _), line in rows.groupby(["optimizer", "run"]):
            look = look_of(str(optimizer), members)
            if look is BEHIND:
                background(panel, [line.assign(queries=spent(line))[["queries", metric]].to_numpy(float)])
            else:
                panel.plot(spent(line), line[metric], color=look.color, marker=look.marker, markersize=3, alpha=0.7)
        panel.set_xlabel(unit(rows))

    with theme():
        buffer = BytesIO()
        names = [str(name) for name in rows["optimizer"].unique()]
        figure = panels(draw, metrics, names, lambda name: key(name, style(name).line), [])
        figure.savefig(buffer, format="png", dpi=110)
    return b64encode(buffer.getvalue()).decode()
