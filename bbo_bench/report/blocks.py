"""What tasks, optimizers and seeds have in common: the block of values that views over tasks need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bbo_bench.report.aggregate import Floats, at_the_end, interquartile_mean


class Block(NamedTuple):
    """Values at the end of the budgets, of the optimizers that were run on all tasks."""

    metric: str
    optimizers: list[str]
    tasks: dict[str, Floats]
    """`optimizers x seeds`, all seeds that one of them has on the task; NaN where another has it not."""

    @property
    def means(self) -> Floats:
        """Interquartile means over seeds, `tasks x optimizers`."""
        return np.array([[interquartile_mean(row[~np.isnan(row)]) for row in values] for values in self.tasks.values()])


def block(table: pd.DataFrame, order: Sequence[str], metric: str) -> Block | str:
    """The block of the optimizers in `order`, or the reason why there is none.

    Args:
        table: A row per run and round.
        order: The optimizers.
        metric: A column of `table`.
    """
    last = at_the_end(table).dropna(subset=[metric])
    wide = last.pivot(index=["task", "optimizer"], columns="seed", values=metric)
    tasks = table["task"].unique().tolist()
    names = [name for name in order if all((task, name) in wide.index for task in tasks)]
    if len(names) < 2:
        return f"fewer than two optimizers have {metric} on all tasks"
    values = {task: wide.loc[task].loc[names].dropna(axis=1, how="all").to_numpy(float) for task in tasks}
    return Block(metric, names, values)
