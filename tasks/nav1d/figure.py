"""Trajectories over the landscape of rewards: of the data, of the prior, and of what optimizers make of it.

python -m bbo_bench.tasks.nav1d.figure results/control --out results/control/report
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from bbo_bench.names import PRIOR
from bbo_bench.recorded import recorded_task
from bbo_bench.report.layout import theme
from bbo_bench.report.runs import ReportError, Run, designs, find_runs
from bbo_bench.tasks.nav1d import Nav1D
from bbo_bench.tasks.nav1d.drawing import draw_landscape
from bbo_bench.tasks.nav1d.environment import HORIZON, SIZE, executed

LINES = 40
"""Trajectories of a panel."""
COLUMNS = 4
NEAR = 128
"""Training plans whose starts count as the same, of 8192."""


def figure(task: Nav1D, plans: Mapping[str, Tensor]) -> Figure:
    """A panel of executed trajectories for each of these sets of `n x 32 x 2` plans, by name, with their returns."""
    rows = -(-len(plans) // COLUMNS)
    page = Figure(figsize=(3 * COLUMNS, 2.4 * rows + 0.6), layout="constrained")
    page.supxlabel("time, in steps", fontsize=9)
    page.supylabel("position", fontsize=9)
    page.suptitle(
        f"Executed paths of {LINES} plans (red) over the rewards (dark: 1); mean return ± deviation", fontsize=9
    )
    panels = page.subplots(rows, COLUMNS, squeeze=False).flatten()
    for panel in panels[len(plans) :]:
        panel.set_axis_off()
    for panel, (name, x) in zip(panels, plans.items(), strict=False):
        draw_landscape(panel)
        panel.grid(visible=False)
        paths = executed(x[:LINES, 0, 0], x[:LINES, :, 1])
        panel.plot(paths.T.numpy(), color="tab:red", linewidth=0.5, alpha=0.6)
        y, typical = task.evaluate(x), float(typical_return(task, x[:, 0, 0]).mean())
        panel.set(xticks=[0, HORIZON // 2, HORIZON - 1], yticks=[-SIZE, 0, SIZE])
        panel.set_title(
            f"{name}, coherency {task.coherency(x).mean():.2f}\n"
            f"{y.mean():.1f} ± {y.std():.1f}; data from these starts {typical:.1f}",
            fontsize=8,
        )
    return page


def typical_return(task: Nav1D, start: Tensor) -> Tensor:
    """Mean returns of the data from the `NEAR` starts that are nearest to each of `n`, an `n`-dim tensor."""
    data = task.training_data()
    near = (data[:, 0, 0] - start[:, None]).abs().topk(NEAR, largest=False).indices
    return task.evaluate(data)[near].mean(1)


def recommended(runs: Sequence[Run]) -> dict[str, Tensor]:
    """Of the first kept run of each optimizer, what it recommends at the end; the prior's are fresh samples."""
    plans: dict[str, Tensor] = {}
    for run in runs:
        arrays = designs(run)
        if arrays and run.optimizer not in plans:
            last = arrays[f"recommended_{len(run.budget) - 1}"]
            plans["prior" if run.optimizer == PRIOR else run.optimizer] = torch.as_tensor(last)
    return plans


def main() -> None:
    """Draw a page for every task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        runs = find_runs([arguments.folder]).complete
    except ReportError as error:
        parser.error(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with theme():
        for name in sorted({run.task for run in runs}):
            ours = [run for run in runs if run.task == name]
            task = recorded_task(ours[0].config["task"])
            if not isinstance(task, Nav1D):
                print(f"left out: {name}, whose designs are no plans of nav1d")
                continue
            path = arguments.out / f"{name}_trajectories.png"
            figure(task, {"data": task.reference(), **recommended(ours)}).savefig(path)
            print(f"written: {path}")


if __name__ == "__main__":
    main()
