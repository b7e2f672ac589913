"""Comparisons of optimizers in words: printed, as CSV and as LaTeX."""

from __future__ import annotations

import re
import shlex
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bbo_bench.names import KEYS, SETTINGS, reference
from bbo_bench.plan import shown
from bbo_bench.plugins import unknown
from bbo_bench.report.aggregate import ENOUGH
from bbo_bench.report.frame import frame
from bbo_bench.report.page import cautions, left_out
from bbo_bench.report.paired import ALL, LEVEL, SIZES, averaged, compare, words
from bbo_bench.report.runs import ReportError, find_runs
from bbo_bench.report.typeset import escaped

START = 1e-4
"""Relative difference of the best scores of round 0 from which on two runs have not begun alike."""
BEWARE = (
    "The designs that count are chosen by their true scores from what an optimizer recommends: fresh samples if it is "
    "generative, else what it has queried, and would query next. What crowds in one basin is one design. See best and "
    "top10, of queried designs alone, too."
)
HEADINGS = {
    "value": "mean",
    "difference": "difference [95%]",
    "p_holm": "p (Holm)",
    "improvement": "P",
    "seeds": "seeds",
    "verdict": "verdict",
}


def write_comparison(folders: Sequence[Path], against: str, metric: str = "score", out: Path | None = None) -> str:
    """Compare all optimizers in or below `folders` with one of them; write a CSV and a LaTeX file.

    Args:
        folders: Folders of experiments, tasks, optimizers or runs.
        against: The optimizer that the others are compared with, as a report calls it.
        metric: A column of the runs' metrics.csv.
        out: Where to; `report/` in the first folder by default.

    Returns:
        The comparison as text for a terminal.

    Raises:
        ReportError: If there is no such optimizer or metric, or it has no seed in common with any other.
    """
    runs = find_runs(folders)
    whole = frame(runs.complete)
    _check(whole, against, metric)
    found = compare(whole, against, metric)
    if found.empty:
        raise ReportError(f"{against} has no seed in common with another optimizer on any task; pairs need one")
    out = Path(folders[0], "report") if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.=+-]+", "_", f"compare_{against}_{metric}").strip("_")
    command = shlex.join(["bbo-bench", "compare", *map(shown, folders), "--against", against, "--metric", metric])
    differences = found["differences"].map(lambda values: " ".join(f"{value:.6g}" for value in values))
    found.assign(differences=differences).to_csv(out / f"{name}.csv", index=False)
    notes = [*_notes(whole, found, against, metric), *cautions(runs.complete), left_out(runs)]
    (out / f"{name}.tex").write_text(_latex(found, against, metric, command), encoding="utf-8")
    parts = [_text(found, against, metric), "\n".join(filter(None, notes))]
    written = f"written: {shown(out / f'{name}.csv')}, {shown(out / f'{name}.tex')}"
    return "\n\n".join([*filter(None, parts), written])


def _check(whole: pd.DataFrame, against: str, metric: str) -> None:
    others = {*KEYS, *(name for name in whole.columns if name.endswith(reference("")) or name.startswith(SETTINGS))}
    known = [name for name in whole.columns if name not in others and whole[name].notna().any()]
    if metric not in known:
        older = " (it came with later versions: run them again)" if metric == "score" else ""
        raise ReportError(f"no run has the metric {metric}{older}; with --metric, one of: {', '.join(known)}")
    names = whole["optimizer"].unique().tolist()
    if against not in names:
        raise ReportError(unknown("optimizer in these runs", against, names))


def _notes(whole: pd.DataFrame, found: pd.DataFrame, against: str, metric: str) -> Iterator[str]:
    """What to know of these comparisons."""
    yield (
        "Differences are means over common seeds, with Student's 95% interval (over all tasks: of the tasks'), not "
        "corrected for their number; p is that of the paired t-test, Holm-corrected over all rows here; better and "
        f"worse are those below {LEVEL:g}. P({words(metric)[0]}): a run of the row's optimizer beats one of {against}."
    )
    if metric in ("score", "distinct_top"):
        yield BEWARE
    if metric in SIZES:
        yield f"{metric} is better nearer to 0: its sizes are compared."
    if words(metric)[0] == "higher":
        yield f"{metric} is the task's own: whether higher is better, its card says."
    few = found[(found["task"] != ALL) & (found["seeds"] < ENOUGH)]
    if len(few):
        yield f"Rows with fewer than {ENOUGH} common seeds show the differences themselves, and are not tested."
    if ((found["task"] == ALL) & (found["tasks"] < ENOUGH)).any():
        yield f"Over fewer than {ENOUGH} tasks the tasks' differences are shown, and not tested."
    if whole["task"].nunique() > 1 and ALL not in set(found["task"]):
        yield "No comparison over tasks: " + (
            "no other optimizer ran on all of them." if averaged(metric) else f"{metric} is in each task's own units."
        )
    seeds = whole[whole[metric].notna()].groupby(["task", "optimizer"])["seed"].agg(set)
    for (task, name), own in zip(seeds.index, seeds, strict=True):
        base = seeds.get((task, against), set())
        if name != against and own != base:
            yield (
                f"{task}: {name} has the seeds {_listed(own)}, {against} {_listed(base)}; "
                + (f"compared on {_listed(own & base)}." if own & base else "not compared.")
            )
    yield from _unlike(whole, against)


def _unlike(whole: pd.DataFrame, against: str) -> Iterator[str]:
    """Runs that have not begun with the same designs as those they are paired with."""
    start = whole[whole["round"] == 0].pivot(index=["task", "optimizer"], columns="seed", values="best")
    for task, name in start.index:
        best = start.loc[(task, name)]
        base = start.loc[(task, against)] if (task, against) in start.index else best
        gap = (best - base).abs() > START * base.abs()
        if gap.any():
            yield (
                f"{task}: {name} and {against} did not begin alike in seeds {_listed(set(best.index[gap]))}, as the "
                "best scores of round 0 say; pairs then share less, and other versions or machines may have made them."
            )


def _listed(seeds: set[int]) -> str:
    return ", ".join(map(str, sorted(seeds))) or "none"


def _cells(found: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows of one task as words, the largest difference first."""
    rows = found.sort_values("difference", ascending=False)
    scale = np.nanmax(np.abs(rows[["value", "difference"]].to_numpy(float)))
    digits = int(np.clip(2 - np.floor(np.log10(scale)), 0, 6)) if scale > 0 else 3
    cells = {
        "optimizer": rows["optimizer"],
        "value": rows["value"].map(f"{{:.{digits}f}}".format),
        "difference": [_spread(row, digits) for row in rows.to_dict("records")],
        "p_holm": rows["p_holm"].map(lambda p: "-" if np.isnan(p) else f"{p:.2g}"),
        "improvement": [_probability(row) for row in rows.to_dict("records")],
        "seeds": rows["seeds"].map(str),
        "verdict": rows["verdict"],
    }
    headings = HEADINGS | {"improvement": f"P({words(rows['metric'].iloc[0])[0]})"}
    return pd.DataFrame(cells)[["optimizer", *columns]].rename(columns=headings)


def _spread(row: Mapping[Hashable, Any], digits: int) -> str:
    values = [row["low"], row["high"]]
    shape = "[{}]"
    if np.isnan(row["low"]):
        values, shape = list(row["differences"]), "{{{}}}"
    return f"{row['difference']:+.{digits}f} " + shape.format(", ".join(f"{value:.{digits}f}" for value in values))


def _probability(row: Mapping[Hashable, Any]) -> str:
    ends = row["improvement_low"], row["improvement_high"]
    return f"{row['improvement']:.2f}" + ("" if pd.isna(ends[0]) else f" [{ends[0]:.2f}, {ends[1]:.2f}]")


def _titled(found: pd.DataFrame, against: str, metric: str) -> Iterator[tuple[str, pd.DataFrame]]:
    for task, rows in found.groupby("task", sort=False):
        base = rows["against_value"].iloc[0]
        where = f"all tasks of {against}" if task == ALL else str(task)
        title = f"{where}: {metric} at the end of the budget, against {against}"
        yield title + (f" ({base:.3g})" if rows["against_value"].nunique() == 1 else ""), _cells(rows, list(HEADINGS))


def _text(found: pd.DataFrame, against: str, metric: str) -> str:
    return "\n\n".join(f"{title}\n{cells.to_string(index=False)}" for title, cells in _titled(found, against, metric))


def _latex(found: pd.DataFrame, against: str, metric: str, command: str) -> str:
    """Tables for a document, which needs the packages booktabs and longtable."""
    parts = []
    for title, cells in _titled(found, against, metric):
        cells = cells.map(escaped).rename(columns=escaped)
        parts.append(cells.to_latex(index=False, longtable=True, caption=escaped(title)))
    return "\n".join([f"% made by: {command}", *parts])
