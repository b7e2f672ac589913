"""What a plugin does to its process ends with its run."""

import os
import random
import signal
import threading
import time

import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor

from bbo_bench.containment import RunEnded, contained

SWEEP = ("-m", "task=toy", "budget.rounds=[4,4]", "budget.evaluation=8", "budget.validation=0", "device=cpu")
SWEEP += ("optimizer=toy_faulty", "name=${optimizer.fault}")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture
def workers():
    """New ones, as joblib's stay in the folder where they were first asked for."""
    yield
    get_reusable_executor().shutdown()


def complete(folder):
    return len(list(folder.rglob("recommended.npz"))) - len(list(folder.rglob("state.pt")))


def test_an_exit_is_a_failure_of_its_run_alone(cli, tmp_path):
    outcome = cli("run", *SWEEP, "optimizer.fault=exit,interrupt,raise,none")
    assert outcome.status == 1
    assert "1 of 4 runs are complete" in outcome.err
    for fault, message in {
        "exit": "RunEnded: something in the run raised SystemExit(3), which would have ended the program",
        "interrupt": "RunEnded: something in the run raised KeyboardInterrupt()",
        "raise": "ZeroDivisionError: division by zero",
    }.items():
        assert f"failed: results/{fault}/toy/toy_faulty/seed_0: {message}" in outcome.err
        assert message.partition(": ")[2] in (tmp_path / f"results/{fault}/toy/toy_faulty/seed_0/error.txt").read_text()


def test_a_process_that_dies_takes_its_own_run_along(cli, tmp_path, workers):
    outcome = cli("run", *SWEEP, *JOBLIB, "optimizer.fault=none,leave,crash")
    assert outcome.status == 1
    assert "1 of 3 runs are complete" in outcome.err
    assert complete(tmp_path / "results/none") == 1
    for fault, code in {"leave": "EXIT(3)", "crash": "SIGSEGV(-11)"}.items():
        assert f"failed: results/{fault}/toy/toy_faulty/seed_0: its process ended by {code}: a plugin" in outcome.err
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"none", "leave", "crash"}


def test_a_run_that_hangs_is_ended(cli, workers, monkeypatch):
    monkeypatch.setattr("bbo_bench.containment.GRACE", 2)  # in this process alone, which decides what is a hang
    outcome = cli("run", *SWEEP, *JOBLIB, "optimizer.fault=none,sleep,hang", "timeout=5")
    assert "1 of 3 runs are complete" in outcome.err
    assert "sleep/toy/toy_faulty/seed_0: RunEnded: the run took more than the timeout of 5 s" in outcome.err
    assert "hang/toy/toy_faulty/seed_0: the run took more than the timeout of 5 s, and had to be ended" in outcome.err


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
def test_a_timeout_is_a_time(cli, value):
    outcome = cli("run", "task=toy", "optimizer=toy_faulty", f"timeout={value}")
    assert outcome.status == 1
    assert "timeout" in outcome.err and "\n" not in outcome.err.strip()


def test_settings_of_the_process_are_put_back(cli, tmp_path):
    def settings():
        folders = os.getcwd(), os.environ["BBO_BENCH_PLUGINS"]
        return *folders, np.geterr(), torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()

    before = settings()
    drawn = []
    for fault in ("none", "settings"):
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        assert cli("run", *SWEEP, f"optimizer.fault={fault}").status == 0
        drawn.append((torch.rand(1), np.random.rand(), random.random()))
        assert settings() == before
    assert drawn[0] == drawn[1]
    (tmp_path / "results").rename("alone")
    assert cli("run", *SWEEP, "optimizer.fault=settings,none").status == 0
    alone, after = (sorted((tmp_path / folder / "none").rglob("seed_0/*.csv")) for folder in ("alone", "results"))
    assert len(alone) == 2
    assert [each.read_bytes() for each in alone] == [each.read_bytes() for each in after]


def test_ctrl_c_is_no_failure():
    with pytest.raises(KeyboardInterrupt), contained():
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        time.sleep(5)


def test_a_time_that_is_over_is_no_plugins_fault():
    with pytest.raises(RunEnded, match=r"timeout of 0.1 s; with more the same command goes on"), contained(0.1):
        try:
            time.sleep(5)
        except RunEnded as error:
            raise ValueError("evaluate raised RunEnded on 32 designs") from error


def test_the_time_is_over_even_where_errors_are_caught():
    caught = 0
    with pytest.raises(RunEnded, match=r"timeout of 0.1 s"), contained(0.1):
        while True:
            try:
                time.sleep(5)
            except RunEnded:
                caught += 1
                if caught == 2:
                    raise
