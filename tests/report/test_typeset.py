"""Tables have a section for each group of methods, and the KL weights on their own."""

import pandas as pd

from bbo_bench.report.typeset import cost_tables, latex, result_tables, text

FAMILIES = {"cma_es": {"cma_es": float("nan")}, "ddpo": {"ddpo_kl_0.1": 0.1, "ddpo": 1.0}}
ROWS = [("cma_es", 1.0, 0.5, 1.5), ("ddpo", 2.0, 1.0, 3.0), ("ddpo_kl_0.1", 4.0, 4.0, 4.0), ("data", 0.5, None, None)]


def results() -> pd.DataFrame:
    rows = [("toy", name, "best", *values) for name, *values in ROWS]
    return pd.DataFrame(rows, columns=["task", "optimizer", "metric", "iqm", "low", "high"])


def test_text() -> None:
    assert text(result_tables(results(), FAMILIES)).splitlines() == [
        "toy: Queried designs",
        "                 best",
        "baselines",
        "  cma_es         1.00 [0.50, 1.50]",
        "policy gradient",
        "  ddpo           2.00 [1.00, 3.00]",
        "data             0.50",
        "",
        "toy: Queried designs, by KL weight",
        "                               best",
        "ddpo",
        "  ddpo_kl_0.1 (kl_weight=0.1)  4.00 [4.00, 4.00]",
        "  ddpo (kl_weight=1)           2.00 [1.00, 3.00]",
    ]


def test_latex_repeats_its_head_and_keeps_a_title_with_its_rows() -> None:
    found = latex(result_tables(results(), FAMILIES), "bbo-bench report x")
    assert found.startswith("% made by: bbo-bench report x\n\n\\begin{longtable}{lr}\n")
    assert (
        "\\multicolumn{2}{l}{\\emph{baselines}} \\\\*\n\\quad cma\\_es & $1.00$ {\\scriptsize $[0.50, 1.50]$} \\\\"
        in found
    )
    assert "\\addlinespace\ndata & $0.50$ \\\\\n\\end{longtable}" in found
    assert found.count("\\endhead") == found.count("\\end{longtable}") == 2


def test_costs_are_those_of_one_optimizer_of_each_family() -> None:
    columns = ["ask", "oracle", "tell", "evaluation", "total", "harness_percent", "peak_mb"]
    costs = pd.DataFrame({"task": "toy", "optimizer": ["ddpo", "ddpo_kl_0.1"], **dict.fromkeys(columns, 2.0)})
    (table,) = cost_tables(costs, FAMILIES)
    assert table.sections == {"policy gradient": {"ddpo": {key: [2.0] for key in columns}}}
