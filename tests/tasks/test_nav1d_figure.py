"""The figure of trajectories."""

import sys

import pytest
import torch
from hydra.utils import instantiate

from bbo_bench.plugins import find
from bbo_bench.tasks.nav1d.figure import LINES, figure, main


def test_every_set_of_plans_has_a_panel_with_its_returns():
    task = instantiate(find("task", "nav1d").settings)
    best = task.best_design().repeat(50, 1, 1)
    page = figure(task, {"data": task.reference(), "best": best})
    first, second, *rest = page.axes
    assert [len(first.lines), len(second.lines)] == [LINES, LINES] and len(rest) == 2
    assert second.get_title().startswith("best, coherency 1.00\n15.6 ± 0.0; data from these starts ")
    assert torch.as_tensor(second.lines[0].get_ydata()).sub(best[0, :, 0]).abs().max() < 1e-4


def test_it_is_drawn_of_runs_and_leaves_out_other_tasks(cli, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("BBO_BENCH_PLUGINS", raising=False)
    for task in ("nav1d", "ackley_20"):
        run = (
            "run",
            f"task={task}",
            "optimizer=prior_sampling",
            "budget.rounds=[8,8]",
            "budget.evaluation=8",
            "budget.validation=0",
        )
        assert cli(*run, f"results={tmp_path}").status == 0
    monkeypatch.setattr(sys, "argv", ["figure", str(tmp_path / "default"), "--out", str(tmp_path / "new" / "folder")])
    main()
    assert (tmp_path / "new/folder/nav1d_trajectories.png").stat().st_size > 10_000
    assert "left out: ackley_20" in capfd.readouterr().out
    monkeypatch.setattr(sys, "argv", ["figure", str(tmp_path / "none"), "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "no run folder" in capfd.readouterr().err
