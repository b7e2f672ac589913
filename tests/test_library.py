"""The public surface: what a notebook imports."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
import torch

import bbo_bench
from bbo_bench import evaluate, load_optimizer, load_task, run
from bbo_bench.core import UnsuitableError
from bbo_bench.plugins import PluginError

QUICK = {"updates": 4, "batch_size": 16, "rollouts": 8, "rollout_every": 2, "proxy.updates": 20, "proxy.width": 16}


def test_all_that_is_public_is_there_and_nothing_is_imported_before_it_is_asked_for():
    assert {name for name in bbo_bench.__all__ if callable(getattr(bbo_bench, name))} == set(bbo_bench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'no_such'"):
        bbo_bench.no_such  # noqa: B018
    program = "import bbo_bench, sys; assert not {'torch', 'pandas', 'hydra'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_loop_of_ones_own():
    task = load_task("tfbind8")
    optimizer = load_optimizer("sqdf", task, budget=[16, 16], seed=3, device="cpu", **QUICK)
    x = task.prior().decode(task.prior().sample(16, torch.Generator().manual_seed(0)))
    for _ in range(2):
        optimizer.tell(x, task.evaluate(x))
        x = optimizer.ask(16)
    found = evaluate(task, optimizer.recommend(16), predicted=optimizer.predict(x), device="cpu")
    assert isinstance(found, pd.Series)
    assert 0 <= found["score"] <= 1 and found["validity"] == 1 and found.notna().sum() > 15
    assert not {"best", "top10", "auc_top10"} & set(found.index)


def test_metrics_are_those_of_a_run(tmp_path):
    settings = {"folder": tmp_path, "budget": [8, 8], "evaluation": 16, "validation": 0, "device": "cpu"}
    table = run("tfbind8", "genetic", **settings)
    assert len(table) == 2
    import numpy as np

    x = torch.as_tensor(np.load(tmp_path / "recommended.npz")["recommended_1"])
    found = evaluate(load_task("tfbind8"), x, device="cpu")
    for key in ("reward_mean", "validity", "elbo_z", "pairwise", "distinct_top", "hits_0.5", "unique"):
        assert found[key] == pytest.approx(table[key].iloc[-1]), key
    assert run("tfbind8", "genetic", folder=tmp_path, budget=[8, 8], evaluation=16, validation=0, device="cpu").equals(
        table
    )


def test_settings_of_parts_have_dots_and_wrong_ones_are_named():
    task = load_task("tfbind8")
    assert load_optimizer("ddpo", task, **{"training.learning_rate": 0.5}).training.learning_rate == 0.5
    with pytest.raises(PluginError, match="has no setting gama; did you mean gamma"):
        load_optimizer("sqdf", task, gama=1.0)
    with pytest.raises(PluginError, match="there is no optimizer named 'sqfd'"):
        load_optimizer("sqfd", task)
    with pytest.raises(UnsuitableError, match="searches a Box"):
        load_optimizer("cma_es", task)
    with pytest.raises(ValueError, match="gamma must lie in"):
        load_optimizer("sqdf", task, gamma=2.0)
    with pytest.raises(ValueError, match="multiple of 8"):
        evaluate(task, task.reference()[:7])
