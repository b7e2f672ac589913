"""Views over tasks: profiles, ranks, who beats whom, runtimes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from bbo_bench.names import headline
from bbo_bench.report.blocks import block
from bbo_bench.report.families import families
from bbo_bench.report.improvement import matrix
from bbo_bench.report.profiles import profiles
from bbo_bench.report.ranks import diagram
from bbo_bench.report.runs import Run
from bbo_bench.report.runtimes import distribution, runtimes


def across(runs: Sequence[Run], table: pd.DataFrame) -> dict[str, Figure | str]:
    """Figures about several tasks by their names, or the reasons why there are none; one optimizer of each family.

    Args:
        runs: Of several tasks.
        table: A row per run and round.
    """
    kin, found = families(runs), runtimes(runs)
    figures: dict[str, Figure | str] = {
        "runtimes": "no task declares y_prior and best_known" if found.empty else distribution(found, kin)
    }
    common = block(table, list(kin), headline(table.columns[table.notna().any()]))
    if isinstance(common, str):
        return figures | dict.fromkeys(("profiles", "ranks", "improvement"), common)
    return {"profiles": profiles(common, kin), "ranks": diagram(common), "improvement": matrix(common)} | figures
