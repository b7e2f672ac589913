"""The table for a page of two columns, and that LaTeX takes this and the long ones."""

from __future__ import annotations

import re
import shutil
import subprocess

import pandas as pd
import pytest

from bbo_bench.report import columns, typeset
from bbo_bench.report.families import Family

FAMILIES = {name: Family({name: float("nan")}, None) for name in ("cma_es", "ddpo", "sqdf")}
FIELDS = ["iqm", "low", "high", "seeds", "lowest", "lowest_seed", "values", "below_prior"]
VALUES = {
    "score": {"cma_es": 0.3, "ddpo": 0.5, "sqdf": 0.4, "data": 0.9},
    "validity": {"cma_es": 0.75, "ddpo": 1.0, "sqdf": 1.0, "data": 1.0},
    "vendi": {"cma_es": 9.0, "ddpo": 2.0, "sqdf": 3.0, "data": 5.0},
}
PAGE = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs,longtable}
\begin{document}
%s
\onecolumn
%s
Tables \ref{tab:a-task-50} and \ref{tab:all-a-task-50-queried-designs}.
\end{document}
"""


def results() -> pd.DataFrame:
    """Of a task whose name LaTeX would misread; the data have no interval."""
    rows = []
    for metric, values in (VALUES | {"best": VALUES["score"]}).items():
        for name, value in values.items():
            low, high = (None, None) if name == "data" else (value - 0.01, value + 0.01)
            rows.append(("a_task 50%", name, metric, value, low, high, 5, value, 0, (), 0.0))
    return pd.DataFrame(rows, columns=["task", "optimizer", "metric", *FIELDS])


def test_a_row_has_its_intervals_and_the_best_in_bold() -> None:
    found = columns.latex(results(), FAMILIES, "bbo-bench report x")
    assert r"ddpo & $\mathbf{0.50}_{0.49}^{0.51}$ & $\mathbf{1.00}_{0.99}^{1.01}$ & $2.00_{1.99}^{2.01}$ \\" in found
    assert r"sqdf & $0.40_{0.39}^{0.41}$ & $\mathbf{1.00}_{0.99}^{1.01}$ & $3.00_{2.99}^{3.01}$ \\" in found
    assert r"data & $0.90$ & $1.00$ & $5.00$ \\" in found, "the data are no optimizer, and Vendi has no best"
    assert found.startswith("% made by: bbo-bench report x\n")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_sets_them_within_their_columns(tmp_path) -> None:
    narrow = columns.latex(results(), FAMILIES, "x")
    long = typeset.latex(typeset.result_tables(results(), FAMILIES), "x")
    (tmp_path / "page.tex").write_text(PAGE % (narrow, long))
    for _ in range(2):  # for the references
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
    assert not re.search(r"Overfull|undefined references|multiply defined", done.stdout)
