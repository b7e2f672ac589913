"""The suite of tasks catches what it is for."""

import socket

import pytest
import torch

from bbo_bench.domains import Box
from bbo_bench.oracle import TaskError
from bbo_bench.testing import Probe, TaskSuite


class Swayed(Probe):
    def evaluate(self, x):
        return super().evaluate(x).double() + torch.tensor(0.1).double()


class Noisy(Probe):
    def evaluate(self, x):
        return super().evaluate(x) + torch.rand(len(x))


class Batched(Probe):
    def evaluate(self, x):
        return super().evaluate(x) - x.mean()


class WrongMean(Probe):
    y_prior = -1.0


class LowBest(Probe):
    best_known = -3.0


class LossyCodec(Probe):
    def prior(self):
        prior = super().prior()
        prior.decode = torch.round
        return prior


class FloatValidity(Probe):
    def valid(self, x):
        return super().valid(x).float()


class BlindFeatures(Probe):
    def features(self, x):
        return torch.zeros(len(x), 3)


class DrawsNothing(Probe):
    def render(self, x, axes):
        pass


class Remembers(Probe):
    queries = 0

    def evaluate(self, x):
        self.queries += 1
        return super().evaluate(x) + 0.01 * self.queries


class OpensSockets(Probe):
    def evaluate(self, x):
        socket.socket().connect(("localhost", 1))
        return super().evaluate(x)


class AcceptsAnything(Probe):
    domain = Box(Probe.domain.lower, Probe.domain.upper)
    domain.check = lambda x: x


class UnattainedBest(Probe):
    best_known = 0.1

    def best_design(self):
        return torch.ones(2)


class InvalidBest(Probe):
    best_known = -2 * 25.0

    def best_design(self):
        return torch.full((2,), 6.0)


class NeedsDesigns(Probe):
    def features(self, x):
        return torch.stack(list(x))


class NeedsTwo(Probe):
    def metrics(self, x):
        return {"spread": float((x - x.mean(0)).square().sum()) / (len(x) - 1)}


class LosesMetrics(Probe):
    def metrics(self, x):
        return {"mean": float(x.mean())} if len(x) else {}


class Clears(Probe):
    def features(self, x):
        return x.zero_()

    def render(self, x, axes):
        super().render(x, axes)
        x.zero_()


@pytest.mark.parametrize(
    ("task", "test"),
    [
        (Noisy, "test_scores_are_deterministic"),
        (Swayed, "test_global_settings_change_nothing"),
        (Batched, "test_scores_do_not_depend_on_the_batch"),
        (WrongMean, "test_y_prior_is_the_mean_of_the_prior"),
        (LowBest, "test_best_known_is_the_best"),
        (LossyCodec, "test_codec_round_trip"),
        (FloatValidity, "test_valid"),
        (BlindFeatures, "test_features"),
        (DrawsNothing, "test_render"),
        (Remembers, "test_scores_do_not_depend_on_earlier_queries"),
        (OpensSockets, "test_no_network_is_needed"),
        (AcceptsAnything, "test_malformed_designs_are_refused"),
        (UnattainedBest, "test_best_known_is_attained"),
        (InvalidBest, "test_best_known_is_attained"),
        (LowBest, "test_best_known_is_not_exceeded"),
    ],
)
def test_a_fault_of_a_task_is_caught(task, test):
    class Suite(TaskSuite):
        @classmethod
        def fresh(cls):
            return task()

    with pytest.raises((AssertionError, TaskError)):
        getattr(Suite(), test)()


@pytest.mark.parametrize("call", ["features", "render"])
def test_a_task_that_changes_designs_is_caught(call):
    class Suite(TaskSuite):
        @classmethod
        def fresh(cls):
            return Clears()

    with pytest.raises(AssertionError, match=f"{call} must not change the designs"):
        Suite().test_designs_are_left_as_they_are(call)


@pytest.mark.parametrize(
    ("task", "test", "argument"),
    [
        (NeedsDesigns, "test_few_designs_are_measured_as_many_are", 0),
        (NeedsTwo, "test_metrics", "prior"),
        (LosesMetrics, "test_metrics", "prior"),
    ],
)
def test_a_task_that_needs_many_designs_is_caught(task, test, argument):
    class Suite(TaskSuite):
        @classmethod
        def fresh(cls):
            return task()

    with pytest.raises((AssertionError, RuntimeError, ZeroDivisionError)):
        getattr(Suite(), test)(argument)
