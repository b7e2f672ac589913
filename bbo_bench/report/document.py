"""The report: tables and figures in one folder, and two pages that show them and say how they were made."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from bbo_bench.names import HITS, METRICS, headline, own, short
from bbo_bench.oracle import TaskError
from bbo_bench.plan import shown
from bbo_bench.plugins import PluginError
from bbo_bench.recorded import recorded_task
from bbo_bench.report import (
    across,
    aggregate,
    columns,
    figures,
    highlights,
    html,
    layout,
    overoptimization,
    overview,
    page,
    runtimes,
    tables,
    typeset,
)
from bbo_bench.report.families import Families, distinct, families, order
from bbo_bench.report.frame import frame
from bbo_bench.report.gallery import gallery
from bbo_bench.report.layout import MANY, theme
from bbo_bench.report.runs import ReportError, Run, find_runs
from bbo_bench.report.sweep import sweep, sweeps

SUMMARY = "summary.txt"
Drawn = Figure | str
"""A figure, or the reason why there is none."""


def write_report(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write tables, figures, `report.md` and `report.html` about all complete runs in or below `folders`.

    Args:
        folders: Folders of experiments, tasks, optimizers or runs.
        out: Where to; `report/` in the first folder by default.

    Returns:
        The path of `report.md`.

    Raises:
        ReportError: If nothing is complete, or the runs do not belong together.
    """
    runs = find_runs(folders)
    command = shlex.join(["bbo-bench", "report", *map(shown, folders)])
    out = Path(folders[0], "report") if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    whole = frame(runs.complete)
    metrics = [metric for metric in [*METRICS, *HITS, *own(whole.columns)] if metric in whole]
    estimates = aggregate.per_task(whole, metrics)
    kin = families(runs.complete)
    names = order(kin)
    results = tables.results(estimates, whole, names)
    over = aggregate.over_tasks(whole, names) if whole["task"].nunique() > 1 else None
    costs = tables.cost(runs.complete, names)
    text = _write_tables(results, over, costs, kin, command, out)
    far = overoptimization.distances(runs.complete, whole)
    if not far.empty:
        summits = overoptimization.peaks(far)
        far.to_csv(out / "overoptimization.csv", index=False)
        summits.to_csv(out / "overoptimization_peaks.csv", index=False)
        text += f"\n\n{overoptimization.text(summits)}"
    text = "\n\n".join(filter(None, [text, page.left_out(runs)])) + "\n"
    runtimes.expected(runtimes.runtimes(runs.complete)).to_csv(out / "runtimes.csv", index=False)
    pictures = _write_figures(runs.complete, estimates, results, over, whole, far, out)
    about = page.about(runs, results, command)
    (out / SUMMARY).write_text(text + "".join(f"\n{line}\n" for line in about.cautions), encoding="utf-8")
    by_task = {task: typeset.by_task(task, results, costs, kin) for task in pictures if task}
    (out / "report.html").write_text(html.html(about, pictures, by_task, out), encoding="utf-8")
    path = out / "report.md"
    path.write_text(page.markdown(about, text, pictures), encoding="utf-8")
    return path


def summary_text(report: Path) -> str:
    """The tables of a report that `write_report` has written, for a terminal."""
    return (report.parent / SUMMARY).read_text(encoding="utf-8")


def _write_tables(
    results: pd.DataFrame, over: pd.DataFrame | None, costs: pd.DataFrame, kin: Families, command: str, out: Path
) -> str:
    values = results["values"].map(lambda each: " ".join(f"{value:.6g}" for value in each), na_action="ignore")
    results.assign(values=values).to_csv(out / "results.csv", index=False)
    costs.to_csv(out / "cost.csv", index=False)
    found = typeset.result_tables(results, kin)
    (out / "results.tex").write_text(typeset.latex(found, command), encoding="utf-8")
    (out / "columns.tex").write_text(columns.latex(results, kin, command), encoding="utf-8")
    blocks = [typeset.text(found)]
    if over is not None:
        over.to_csv(out / "over_tasks.csv", index=False)
        blocks.append(typeset.over_text(over, order(kin), headline(results["metric"].unique())))
    return "\n\n".join([*blocks, typeset.text(typeset.cost_tables(costs, kin))])


def _write_figures(
    runs: Sequence[Run],
    estimates: pd.DataFrame,
    results: pd.DataFrame,
    over: pd.DataFrame | None,
    whole: pd.DataFrame,
    far: pd.DataFrame,
    out: Path,
) -> page.Pictures:
    """The figures of each task, and under no task's name those over all."""
    pictures: page.Pictures = {}
    split = [dict(iter(table.groupby("task", observed=True))) for table in (estimates, results, whole)]
    stems = _stems(run.task for run in runs)
    with theme():
        if not far.empty:
            pictures[""] = _saved({"overoptimization": overoptimization.figure(far)}, out)
        if over is not None and not over.empty:
            pictures[""] = pictures.get("", {}) | _saved(
                {
                    "over_tasks": overview.over_tasks(over, families(runs), headline(results["metric"].unique())),
                    **across.across(runs, whole),
                },
                out,
            )
        for task, each in _by_task(runs):
            drawn = dict(_of_task(each, *(tables[task] for tables in split)))
            for figure in drawn.values():
                if isinstance(figure, Figure):
                    figure.suptitle(short(task), fontsize="medium")
            pictures[task] = _saved({f"{stems[task]}_{kind}": figure for kind, figure in drawn.items()}, out)
    return pictures


def _of_task(
    runs: Sequence[Run], estimates: pd.DataFrame, last: pd.DataFrame, whole: pd.DataFrame
) -> Iterator[tuple[str, Drawn]]:
    """One task's figures, each after the other; where optimizers are many, also those that name them all."""
    kin = families(runs)
    names = distinct(kin)
    ranks = overview.ranking(last, names)
    named = highlights.highlights(names, ranks)
    yield "overview", overview.overview(last, kin) or "no run has a score"
    yield "hits", highlights.hits(last, kin, named) or "the runs were made before distinct designs were counted"
    yield "trade_off", highlights.trade_off(last, kin, named)
    yield "curves", highlights.curves(estimates, whole, kin, named)
    if set(figures.EPISODES) & set(estimates["metric"]):
        yield "episodes", highlights.curves(estimates, whole, kin, named, figures.EPISODES)
    for setting, values in sweeps(runs).items():
        yield f"{setting.replace('.', '_')}_sweep", sweep(last, setting, values)
    yield "gallery", _gallery(runs, highlights.chosen(names, ranks))
    if len(names) > MANY:
        yield "trade_off_all", figures.trade_off(last, kin)
        yield "curves_all", figures.curves(estimates, whole, kin)


def _gallery(runs: Sequence[Run], optimizers: Mapping[str, str]) -> Drawn:
    """The gallery of one task, or the reason why there is none."""
    try:
        with mpl.rc_context():  # a plugin may change its settings when it is imported
            task = recorded_task(runs[0].config["task"])
        return gallery(task, runs, optimizers) or "no run's designs were kept"
    except (PluginError, ReportError) as error:
        return str(error)
    except (LookupError, TypeError, ValueError, TaskError) as error:
        return f"the kept designs are none of this task: {' '.join(str(error).split())}"


def _saved(drawn: Mapping[str, Drawn], out: Path) -> dict[str, str | None]:
    """Write figures as PNG and, but for an appendix, as PDF; the reason where there is none."""
    for name, figure in drawn.items():
        if not isinstance(figure, Figure):
            continue
        figure.savefig(out / f"{name}.png", dpi=layout.DPI)
        if not name.endswith(page.APPENDIX):
            figure.set_layout_engine("none")  # the layout is done, and takes half of the time
            figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None})
    return {name: figure if isinstance(figure, str) else None for name, figure in drawn.items()}


def _stems(tasks: Iterable[str]) -> dict[str, str]:
    """Beginnings of file names, one for each task's label."""
    stems: dict[str, str] = {}
    for task in dict.fromkeys(tasks):
        stem = re.sub(r"[^\w.-]+", "_", task).strip("_")
        stems[task] = stem if stem not in stems.values() else f"{stem}_{len(stems)}"
    return stems


def _by_task(runs: Iterable[Run]) -> Iterator[tuple[str, list[Run]]]:
    tasks: dict[str, list[Run]] = {}
    for run in runs:
        tasks.setdefault(run.task, []).append(run)
    yield from tasks.items()
