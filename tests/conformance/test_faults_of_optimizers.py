"""The suite of optimizers passes a sound one, and catches what it is for."""

import random

import pytest
import torch

from bbo_bench.core import Optimizer
from bbo_bench.loop import OptimizerError
from bbo_bench.record import RecordError
from bbo_bench.testing import OptimizerSuite, Probe


class Sound(Optimizer):
    """Conforms: steps from the mean of all that it was told."""

    def __init__(self, problem, rng):
        super().__init__(problem, rng)
        self.mean = torch.zeros(2)

    def ask(self, n):
        return self.problem.domain.clamp(self.mean + torch.randn(n, 2, generator=self.rng))

    def tell(self, x, y):
        self.mean = x.mean(0)

    def recommend(self, n):
        return self.ask(n)

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = state["mean"]


class DrawsFromGlobalState(Sound):
    def ask(self, n):
        return self.problem.domain.clamp(torch.randn(n, 2))


class DisturbsPython(Sound):
    def tell(self, x, y):
        random.seed(0)
        super().tell(x, y)


class IgnoresTheSeed(Sound):
    def ask(self, n):
        return torch.linspace(-1, 1, 2 * n).reshape(n, 2)


class ForgetsItsState(Sound):
    def state_dict(self):
        return {"mean": torch.zeros(2)}


class RecommendsAndMoves(Sound):
    def recommend(self, n):
        self.mean = self.mean + 1
        return self.ask(n)


class ChangesWhatItIsTold(Sound):
    def tell(self, x, y):
        super().tell(x, y.mul_(0))


class RepeatsItself(Sound):
    def recommend(self, n):
        return self.mean.repeat(n, 1)


class RecommendsItsPopulation(Sound):
    def recommend(self, n):
        return self.ask(min(n, 40))


class RecommendsPairs(Sound):
    def recommend(self, n):
        return self.ask(n + n % 2)


class AsksForMore(Sound):
    def ask(self, n):
        return super().ask(n + 1)


class ReportsOtherKeys(Sound):
    rounds = 0

    def tell(self, x, y):
        super().tell(x, y)
        self.rounds += 1

    def diagnostics(self):
        return {f"loss_{self.rounds}": 0.0}


class ReportsTensors(Sound):
    def diagnostics(self):
        return {"mean": self.mean.sum()}


class HoldsTheTask(Sound):
    def __init__(self, problem, rng):
        super().__init__(problem, rng)
        task = Probe()
        self.peek = lambda x: task.evaluate(x)


def suite(optimizer):
    class Suite(OptimizerSuite):
        @classmethod
        def build(cls):
            return optimizer

    return Suite()


FAULTS = {
    DrawsFromGlobalState: ("test_leaves_global_random_states", "test_one_seed_one_outcome"),
    DisturbsPython: ("test_leaves_global_random_states",),
    IgnoresTheSeed: ("test_another_seed_another_outcome",),
    ForgetsItsState: ("test_state_round_trips", "test_resumes_byte_for_byte"),
    RecommendsAndMoves: ("test_evaluation_changes_nothing",),
    ChangesWhatItIsTold: ("test_leaves_what_it_is_told",),
    RepeatsItself: ("test_recommends_distinct_designs",),
    RecommendsItsPopulation: ("test_recommends_as_many_as_asked",),
    RecommendsPairs: ("test_recommends_as_many_as_asked",),
    AsksForMore: ("test_asks_for_designs", "test_keeps_to_the_budget"),
    ReportsOtherKeys: ("test_keeps_to_the_budget",),
    ReportsTensors: ("test_diagnostics_are_numbers",),
    HoldsTheTask: ("test_holds_no_way_to_the_scores",),
}
TESTS = [name for name in vars(OptimizerSuite) if name.startswith("test_")]


def call(suite, test, folder):
    method = getattr(suite, test)
    return method(folder) if "tmp_path" in method.__code__.co_varnames[: method.__code__.co_argcount] else method()


@pytest.mark.parametrize("test", TESTS)
def test_a_sound_optimizer_passes(test, tmp_path):
    assert call(suite(Sound), test, tmp_path) is None, "a test of the suite raises, or is content"


@pytest.mark.parametrize(("fault", "test"), [(fault, test) for fault, tests in FAULTS.items() for test in tests])
def test_a_fault_is_caught(fault, test, tmp_path):
    with pytest.raises((AssertionError, OptimizerError, RecordError)):
        call(suite(fault), test, tmp_path)
