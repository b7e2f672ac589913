"""Passes over a data set alone: no score is asked for, kills leave no trace, and who needs scores is refused."""

import copy
import csv
import io

import pytest
import torch

from bbo_bench.core import UnsuitableError
from bbo_bench.loop import Budget, OptimizerError
from bbo_bench.oracle import Oracle
from bbo_bench.plugins import find
from bbo_bench.record import Record
from bbo_bench.seeding import generator
from bbo_bench.testing.probe import Killed, made, play, problem_of

PASSES = (0, 0)


@pytest.fixture(scope="module")
def task():
    return made("task", "nav1d_planner", {"control": {"episodes": 6, "candidates": 4, "every": 16}})


def rows(content):
    return list(csv.DictReader(io.StringIO(content["metrics.csv"].decode())))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("sft_iql", "value_dpo_iql", "sqdf_iql")]


@pytest.mark.parametrize("name", ["prior_sampling", "reinforce_iql", "idql", *SLOW])
def test_passes_without_a_query_are_judged_by_episodes(name, task, tmp_path, monkeypatch):
    monkeypatch.setattr(Oracle, "__call__", lambda self, x, rng: asked(x) or whole(self, x, rng))
    content = play(tmp_path, made("optimizer", name), task, PASSES)
    found = rows(content)
    assert [row["queries"] for row in found] == ["0", "0"]
    assert content["ledger.csv"] == b""
    for row in found:
        assert row["score"] == row["best"] == row["auc_top10"] == ""
        assert 0 < float(row["return_one"]) < 16 and float(row["return_std_one"]) > 0
        assert 0 < float(row["of_optimum_mean"]) < 1 and "success_mean" not in row
        assert (row["return_greedy"] == "") == (name == "prior_sampling")
        assert float(row["entropy"]) < 0.9, "uniform actions have .88 of a normal law's nats"


whole = Oracle.__call__


def asked(x):
    assert len(x) == 0, "a pass without queries asks for no score"


@pytest.mark.parametrize("name", ["reinforce_iql", pytest.param("sequential_iql", marks=pytest.mark.slow)])
def test_killed_between_passes(name, task, tmp_path, monkeypatch):
    expected = play(tmp_path / "whole", made("optimizer", name), task, PASSES)
    commit, done = Record.commit, []

    def once(self, *args, **kwargs):
        commit(self, *args, **kwargs)
        if not done:
            done.append(self)
            raise Killed

    monkeypatch.setattr(Record, "commit", once)
    with pytest.raises(Killed):
        play(tmp_path / "killed", made("optimizer", name), task, PASSES)
    assert play(tmp_path / "killed", made("optimizer", name), task, PASSES) == expected


@pytest.mark.parametrize("name", ["ddpo", "svdd", "random_search"])
def test_who_learns_from_scores_needs_some(name, task):
    with pytest.raises(UnsuitableError, match=r"learns from scores, of which a budget without queries has none"):
        made("optimizer", name)(problem_of(task, PASSES), generator(0))


def test_a_budget_has_queries_in_all_rounds_or_in_none():
    assert Budget((0, 0)).rounds == (0, 0)
    for wrong in ((), (0, 8), (-1, 0), (8, -8)):
        with pytest.raises(ValueError, match=r"got .*; all 0 are passes over a data set alone"):
            Budget(wrong)


def test_rewards_are_in_units_of_what_the_prior_proposes(task):
    optimizer = made("optimizer", "reinforce_iql")(problem_of(task, PASSES), generator(0))
    optimizer.tell(task.domain.sample(0, generator(0)), torch.empty(0, dtype=torch.double))
    z = optimizer.prior.sample(4096, generator(1))
    reward = optimizer.reward(z)
    assert float(reward.mean()) == pytest.approx(0, abs=0.35)
    assert float(reward.std()) == pytest.approx(1, abs=0.35)
    assert optimizer.round == 0
    assert len(optimizer.proposed()) == 256


def test_plans_from_other_starts_are_the_optimizers_fault(task, tmp_path):
    build = made("optimizer", "prior_sampling")

    def wilful(problem, rng):
        optimizer = build(problem, rng)
        recommend = optimizer.recommend
        optimizer.recommend = lambda n: recommend(1).expand(n, -1, -1)
        return optimizer

    with pytest.raises(OptimizerError, match="as many plans from every start"):
        play(tmp_path, wilful, task, PASSES)


def test_online_with_given_starts_is_judged_by_episodes_too(task, tmp_path):
    found = rows(play(tmp_path, made("optimizer", "ddpo"), copy.copy(task), (16, 16)))
    assert [row["queries"] for row in found] == ["16", "32"]
    assert all(float(row["return_greedy"]) > 0 and float(row["score"]) >= 0 for row in found)
    assert find("task", "nav1d_planner").labels["first_error"]
