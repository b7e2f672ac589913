import math
import re

import pytest
import torch

from bbo_bench.oracle import BudgetExceeded, Oracle, TaskError, true_scores
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe

X = torch.tensor([[1.0, 1.0], [0.0, 1.0], [3.0, 3.0]])


def returning(value):
    class Broken(Probe):
        def evaluate(self, x):
            return value

    return Broken()


def test_scores_are_true_scores_with_the_tasks_noise():
    n = 200_000
    scores = Oracle(Probe(), n)(torch.zeros(n, 2), generator(0, "noise"))
    noise = scores.observed - scores.true
    assert (scores.true == -2).all()
    assert abs(float(noise.mean())) < 5 * 0.1 / math.sqrt(n)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.01)
    assert scores.valid.all() and not Oracle(Probe(), 3)(X, generator(0)).valid[2]


def test_the_noise_comes_from_its_generator_alone():
    first, again = (Oracle(Probe(), 3)(X, generator(1)).observed for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, Oracle(Probe(), 3)(X, generator(2)).observed)


def test_an_infeasible_design_is_told_its_declared_score():
    class Half(Probe):
        noise_std = 0.0

        def evaluate(self, x):
            return super().evaluate(x).where(x[:, 0] > 0.5, -torch.inf)

    scores = Oracle(Half(), 3)(X, generator(0))
    assert scores.observed.tolist() == [0, -50, -8]
    assert scores.true.tolist() == [0, -math.inf, -8]


def test_too_many_designs_are_neither_scored_nor_charged():
    class Strict(Probe):
        scored = 0

        def evaluate(self, x):
            Strict.scored += len(x)
            return super().evaluate(x)

    oracle = Oracle(Strict(), 10, spent=5)
    oracle(X, generator(0))
    with pytest.raises(BudgetExceeded, match="3 designs asked for, but 2 of 10 are left"):
        oracle(X, generator(0))
    assert (oracle.spent, Strict.scored) == (8, 3)
    oracle(X[:2], generator(0))
    assert oracle.spent == oracle.budget


def test_a_crash_is_not_a_free_look():
    class Crashing(Probe):
        def evaluate(self, x):
            raise ZeroDivisionError("no lift")

    oracle = Oracle(Crashing(), 10)
    with pytest.raises(
        TaskError, match=r"Crashing.evaluate raised ZeroDivisionError \(no lift\) on 3 designs.*\[1.0, 1"
    ):
        oracle(X, generator(0))
    assert oracle.spent == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e101, -1e101])
def test_a_score_that_is_no_number_names_the_design(value):
    with pytest.raises(TaskError, match=rf"Broken.evaluate gave {re.escape(str(value))} for design 1: \[0.0, 1.0\]"):
        Oracle(returning(torch.tensor([0.0, value, 0.0], dtype=torch.float64)), 3)(X, generator(0))


def test_malformed_scores_are_the_tasks_error():
    with pytest.raises(TaskError, match=r"must give 3 scores, got a tensor of \(3, 1\)"):
        Oracle(returning(torch.zeros(3, 1)), 3)(X, generator(0))

    class Graded(Probe):
        def valid(self, x):
            return torch.ones(len(x))

    with pytest.raises(TaskError, match=r"Graded\.valid must give 3 bools, got torch\.float32"):
        Oracle(Graded(), 3)(X, generator(0))


def test_the_task_sees_a_detached_copy():
    class Writing(Probe):
        def evaluate(self, x):
            assert not x.requires_grad
            y = super().evaluate(x)
            x.zero_()
            return y

    x = X.clone().requires_grad_()
    Oracle(Writing(), 3)(x, generator(0))
    assert torch.equal(x, X)


def test_designs_outside_the_domain_are_refused():
    with pytest.raises(ValueError, match="must lie in the domain"):
        Oracle(Probe(), 3)(X + 10, generator(0))


def test_no_designs_have_no_scores_and_cost_nothing():
    oracle = Oracle(Probe(), 3)
    scores = oracle(X[:0], generator(0))
    assert oracle.spent == 0
    assert [tuple(column.shape) for column in scores] == [(0,)] * 3

    class NeedsOne(Probe):
        def evaluate(self, x):
            return super().evaluate(x) - x[0].sum()

    with pytest.raises(TaskError, match=r"NeedsOne.evaluate raised IndexError \(.*\) on 0 designs$"):
        Oracle(NeedsOne(), 3)(X[:0], generator(0))


@pytest.mark.parametrize("x", [X.numpy(), X.tolist()])
def test_what_is_no_tensor_is_refused_before_it_is_charged(x):
    oracle = Oracle(Probe(), 3)
    with pytest.raises(ValueError, match=r"designs must be a tensor, got (ndarray|list); torch.as_tensor"):
        oracle(x, generator(0))
    with pytest.raises(ValueError, match="designs must be a tensor"):
        true_scores(Probe(), x)
    assert oracle.spent == 0


def test_noise_has_no_negative_size():
    task = Probe()
    task.noise_std = -1.0
    with pytest.raises(TaskError, match=r"Probe.noise_std must be 0 or more, got -1.0"):
        Oracle(task, 8)
