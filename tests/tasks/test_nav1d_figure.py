"""The figure of trajectories."""

import torch
from hydra.utils import instantiate

from bbo_bench.plugins import find
from bbo_bench.tasks.nav1d.figure import LINES, figure


def test_every_set_of_plans_has_a_panel_with_its_returns():
    task = instantiate(find("task", "nav1d").settings)
    best = task.best_design().repeat(50, 1, 1)
    page = figure(task, {"data": task.reference(), "best": best})
    first, second, *rest = page.axes
    assert [len(first.lines), len(second.lines)] == [LINES, LINES] and len(rest) == 2
    assert second.get_title() == "best: 15.6 ± 0.0, coherency 1.00"
    assert torch.as_tensor(second.lines[0].get_ydata()).sub(best[0, :, 0]).abs().max() < 1e-4
