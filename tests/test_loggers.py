"""Loggers are told the numbers of metrics.csv; progress within a step."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from bbo_bench import loggers, progress
from bbo_bench.loggers import LOGGERS, known

TINY = ("task=toy", "optimizer=toy_search", "budget.rounds=[4,4]", "budget.evaluation=8", "budget.validation=0")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_not_available_is_not_logged():
    assert known({"round": 1, "queries": 8, "score": 0.5, "elbo_z": math.nan}) == {"queries": 8, "score": 0.5}


def test_tensorboard_has_every_round(cli, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    outcome = cli("run", *TINY, "loggers=[tensorboard]")
    assert outcome.status == 0, outcome.err
    folder = tmp_path / "results/default/toy/toy_search/seed_0"
    found = accumulator.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    expected = [(int(row["queries"]), float(row["reward_mean"])) for row in rows(folder)]
    assert [(event.step, pytest.approx(event.value, rel=1e-5)) for event in found.Scalars("reward_mean")] == expected
    assert "loggers" not in (folder / "config.yaml").read_text(), "what looks on changes no run"


def test_mlflow_has_every_round(cli, tmp_path):
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    assert cli("run", *TINY, "loggers=[mlflow]").status == 0
    client = MlflowClient(f"sqlite:///{tmp_path / 'results/mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("default").experiment_id])
    found = client.get_metric_history(run.info.run_id, "reward_mean")
    expected = [float(row["reward_mean"]) for row in rows(tmp_path / "results/default/toy/toy_search/seed_0")]
    assert [each.value for each in found] == pytest.approx(expected)
    assert run.data.params == {"task": "toy", "optimizer": "toy_search", "seed": "0"}


def test_weights_and_biases_writes_offline(cli, tmp_path):
    pytest.importorskip("wandb")
    assert cli("run", *TINY, "loggers=[wandb]").status == 0
    assert list((tmp_path / "results/default/toy/toy_search/seed_0/wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("[neptune]", "there is no logger 'neptune'; known: tensorboard, mlflow, wandb"),
        ("[absent]", "pip install no_such"),
    ],
)
def test_loggers_that_are_not_there(cli, monkeypatch, names, message):
    class Absent(loggers.TensorBoard):
        module = "no_such"

    if "absent" in names:
        monkeypatch.setitem(LOGGERS, "absent", Absent)
    outcome = cli("run", *TINY, f"loggers={names}")
    assert outcome.status == 1 and message in outcome.err


def test_progress_is_said_twice_a_second_at_most(monkeypatch):
    said, clock = [], iter([0.0, 0.4, 0.6, 0.8, 1.2])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    progress.tick(1, 2)  # nobody listens
    with progress.shown(said.append, "tell"):
        for done in range(1, 5):
            progress.tick(done, 10)
    assert said == ["tell", "tell 2/10, 2 s left", "tell 4/10, 2 s left"]
    progress.tick(1, 2)
    assert len(said) == 3
