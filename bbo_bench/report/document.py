"""The report: tables and figures in one folder, and a page that shows them and says how they were made."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from hydra.errors import InstantiationException
from matplotlib.figure import Figure

from bbo_bench.plan import shown
from bbo_bench.report import across, aggregate, figures, overview, page, runtimes, tables, typeset
from bbo_bench.report.families import Families, families, order
from bbo_bench.report.gallery import chosen, gallery, task_of
from bbo_bench.report.layout import theme
from bbo_bench.report.names import DERIVED, METRICS, own
from bbo_bench.report.runs import Run, find_runs, table
from bbo_bench.report.sweep import sweep, sweeps

SUMMARY = "summary.txt"


def write_report(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write tables, figures and `report.md` about all complete runs in or below `folders`.

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
    whole = aggregate.derived(table(runs.complete))
    estimates = aggregate.per_task(whole, [*DERIVED, *METRICS, *own(whole.columns)])
    kin = families(runs.complete)
    names = order(kin)
    results = tables.results(estimates, whole, names)
    over = aggregate.over_tasks(whole, names) if whole["task"].nunique() > 1 else None
    text = _write_tables(results, over, tables.cost(runs.complete, names), kin, command, out)
    caution = page.caution(results)
    text = "\n\n".join(filter(None, [text, page.left_out(runs)])) + "\n"
    runtimes.expected(runtimes.runtimes(runs.complete)).to_csv(out / "runtimes.csv", index=False)
    pictures = _write_figures(runs.complete, estimates, results, over, whole, out)
    (out / SUMMARY).write_text(text + (f"\n{caution}\n" if caution else ""))
    path = out / "report.md"
    path.write_text(page.markdown(runs, command, text, pictures, caution))
    return path


def summary_text(report: Path) -> str:
    """The tables of a report that `write_report` has written, for a terminal."""
    return (report.parent / SUMMARY).read_text()


def _write_tables(
    results: pd.DataFrame, over: pd.DataFrame | None, costs: pd.DataFrame, kin: Families, command: str, out: Path
) -> str:
    values = results["values"].map(lambda each: " ".join(f"{value:.6g}" for value in each), na_action="ignore")
    results.assign(values=values).to_csv(out / "results.csv", index=False)
    costs.to_csv(out / "cost.csv", index=False)
    found = typeset.result_tables(results, kin)
    (out / "results.tex").write_text(typeset.latex(found, command))
    blocks = [typeset.text(found)]
    if over is not None:
        over.to_csv(out / "over_tasks.csv", index=False)
        blocks.append(typeset.over_text(over, order(kin)))
    return "\n\n".join([*blocks, typeset.text(typeset.cost_tables(costs, kin))])


def _write_figures(
    runs: Sequence[Run],
    estimates: pd.DataFrame,
    results: pd.DataFrame,
    over: pd.DataFrame | None,
    whole: pd.DataFrame,
    out: Path,
) -> page.Pictures:
    pictures: page.Pictures = {}
    with theme():
        for task, each in _by_task(runs):
            kin = families(each)
            lines, rows, last = (frame[frame["task"] == task] for frame in (estimates, whole, results))
            best = chosen(list(kin), overview.ranking(last, list(kin)))
            _save(overview.overview(last, kin) or "no run has a hypervolume", out, f"{task}_overview", pictures)
            _save(figures.curves(lines, rows, kin), out, f"{task}_curves", pictures)
            _save(figures.trade_off(last, kin), out, f"{task}_trade_off", pictures)
            for setting, values in sweeps(each).items():
                _save(sweep(last, setting, values), out, f"{task}_{setting.replace('.', '_')}_sweep", pictures)
            _save(_gallery(each, best), out, f"{task}_gallery", pictures)
        if over is not None and not over.empty:
            _save(overview.over_tasks(over, families(runs)), out, "over_tasks", pictures)
            for name, figure in across.across(runs, whole).items():
                _save(figure, out, name, pictures)
    return pictures


def _gallery(runs: Sequence[Run], optimizers: Mapping[str, str]) -> Figure | str:
    """The gallery of one task, or the reason why there is none."""
    try:
        return gallery(task_of(runs[0]), runs, optimizers) or "no run's designs were kept"
    except InstantiationException as error:
        return f"the task cannot be made here: {' '.join(str(error.__cause__ or error).split())}"


def _save(figure: Figure | str, out: Path, name: str, pictures: page.Pictures) -> None:
    """Write a figure as PNG and PDF, or note the reason why there is none."""
    if isinstance(figure, str):
        pictures[name] = figure
        return
    figure.savefig(out / f"{name}.png", dpi=200)
    figure.set_layout_engine("none")  # the layout is done, and takes half of the time
    figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None})
    pictures[name] = None


def _by_task(runs: Iterable[Run]) -> Iterator[tuple[str, list[Run]]]:
    runs = list(runs)
    for task in dict.fromkeys(run.task for run in runs):
        yield task, [run for run in runs if run.task == task]
