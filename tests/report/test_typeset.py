"""Tables have a section for each group of methods, and the KL weights on their own."""

import pandas as pd

from bbo_bench.report.families import Family
from bbo_bench.report.typeset import Cell, cost_tables, latex, result_tables, text

FAMILIES = {
    "cma_es": Family({"cma_es": float("nan")}, None),
    "ddpo": Family({"ddpo_kl_0.1": 0.1, "ddpo": 1.0}, "kl_weight"),
}
ROWS = [
    ("cma_es", 1.0, 0.5, 1.5, 5, -1.0, 3, (), 0.2),
    ("ddpo", 2.0, 1.0, 3.0, 5, 0.5, 1, (), 0.0),
    ("ddpo_kl_0.1", 4.0, None, None, 2, 3.0, 0, (3.0, 5.0), 0.0),
    ("data", 0.5, None, None, None, None, None, None, None),
]
COLUMNS = ["iqm", "low", "high", "seeds", "lowest", "lowest_seed", "values", "below_prior"]


def results() -> pd.DataFrame:
    rows = [("toy", name, metric, *values) for name, *values in ROWS for metric in ("best", "normalized")]
    return pd.DataFrame(rows, columns=["task", "optimizer", "metric", *COLUMNS])


def test_text() -> None:
    assert text(result_tables(results(), FAMILIES)).splitlines() == [
        "toy: Seeds: normalized",
        "                 mean  lowest  of seed  seeds  share below the prior",
        "baselines",
        "  cma_es         1.00  -1.00   3        5      0.20",
        "policy gradient",
        "  ddpo           2.00  0.50    1        5      0.00",
        "",
        "toy: Queried designs",
        "                 best",
        "baselines",
        "  cma_es         1.00 [0.50, 1.50]",
        "policy gradient",
        "  ddpo           2.00 [1.00, 3.00]",
        "data             0.50",
        "",
        "toy: Recommended designs: score",
        "                 normalized",
        "baselines",
        "  cma_es         1.00 [0.50, 1.50]",
        "policy gradient",
        "  ddpo           2.00 [1.00, 3.00]",
        "data             0.50",
        "",
        "toy: Seeds: normalized, by KL weight or budget",
        "                               mean  lowest  of seed  seeds  share below the prior",
        "ddpo",
        "  ddpo_kl_0.1 (kl_weight=0.1)  4.00  3.00    0        2      0.00",
        "  ddpo (kl_weight=1)           2.00  0.50    1        5      0.00",
        "",
        "toy: Queried designs, by KL weight or budget",
        "                               best",
        "ddpo",
        "  ddpo_kl_0.1 (kl_weight=0.1)  4.00 {3.00, 5.00}",
        "  ddpo (kl_weight=1)           2.00 [1.00, 3.00]",
        "",
        "toy: Recommended designs: score, by KL weight or budget",
        "                               normalized",
        "ddpo",
        "  ddpo_kl_0.1 (kl_weight=0.1)  4.00 {3.00, 5.00}",
        "  ddpo (kl_weight=1)           2.00 [1.00, 3.00]",
    ]


def test_latex_repeats_its_head_and_keeps_a_title_with_its_rows() -> None:
    found = latex(result_tables(results(), FAMILIES), "bbo-bench report x")
    assert found.startswith("% made by: bbo-bench report x\n\n\\begin{longtable}{lrrrrr}\n")
    assert "ddpo\\_kl\\_0.1 (kl\\_weight=0.1) & $4.00$ {\\scriptsize $\\{3.00, 5.00\\}$}" in found
    assert (
        "\\multicolumn{2}{l}{\\emph{baselines}} \\\\*\n\\quad cma\\_es & $1.00$ {\\scriptsize $[0.50, 1.50]$} \\\\"
        in found
    )
    assert "\\addlinespace\ndata & $0.50$ \\\\\n\\end{longtable}" in found
    assert found.count("\\endhead") == found.count("\\end{longtable}") == 6


def test_costs_are_those_of_one_optimizer_of_each_family() -> None:
    columns = ["ask", "oracle", "tell", "evaluation", "total", "harness_percent", "peak_mb"]
    costs = pd.DataFrame({"task": "toy", "optimizer": ["ddpo", "ddpo_kl_0.1"], **dict.fromkeys(columns, 2.0)})
    (table,) = cost_tables(costs, FAMILIES)
    assert table.sections == {"policy gradient": {"ddpo": {key: Cell(2.0) for key in columns}}}
