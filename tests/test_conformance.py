"""The public suites over every plugin, and proof that they catch what they are for."""

import random
import socket
from contextlib import suppress

import pytest
import torch

from bbo_bench.core import Optimizer, UnsuitableError
from bbo_bench.domains import Box
from bbo_bench.loop import OptimizerError
from bbo_bench.oracle import TaskError
from bbo_bench.plugins import choices
from bbo_bench.record import RecordError
from bbo_bench.seeding import generator
from bbo_bench.testing import OptimizerSuite, Probe, SequenceProbe, TaskSuite, check_plugin
from bbo_bench.testing.probe import Fragile, Killed, contents, made, play, problem_of, representatives

SLOW_ORACLES = ["image_class", "molecule", "molecule_celecoxib", "molecule_plogp", "molecule_qed", "rna"]
"""Tasks that need minutes to score as many designs as the suite asks for: a slow test does so."""

for _name, _choice in choices("task").items():
    _marks = [pytest.mark.skipif(bool(_choice.missing), reason=f"needs {_choice.missing}")]
    _facts = {"name": _name, "pytestmark": _marks} | ({"many": 2000} if _name in SLOW_ORACLES else {})
    globals()[f"TestTask_{_name}"] = type(f"TestTask_{_name}", (TaskSuite,), _facts)

for _name in representatives("optimizer"):
    globals()[f"TestOptimizer_{_name}"] = type(f"TestOptimizer_{_name}", (OptimizerSuite,), {"name": _name})


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SLOW_ORACLES)
def test_best_known_of_slow_oracles_is_not_exceeded(name):
    if missing := choices("task")[name].missing:
        pytest.skip(f"needs {missing}")
    suite = type("Suite", (TaskSuite,), {"name": name})()
    assert suite.many == 100_000
    suite.test_best_known_is_not_exceeded()


class TestProbe(TaskSuite):
    """The problem on which optimizers are tried is itself a task that conforms."""

    @classmethod
    def fresh(cls):
        return Probe()


class TestSequenceProbe(TaskSuite):
    """So is the one of sequences."""

    @classmethod
    def fresh(cls):
        return SequenceProbe()


BOXES_ONLY = {"cma_es", "qlogei", "qlogei_raw"}
CRITICS = {name for name, it in choices("optimizer").items() if "critic" in str(it.settings.get("proxy"))}
"""They learn from transitions, which the task of sequences has none of."""


@pytest.mark.parametrize("name", sorted(set(representatives("optimizer")) - BOXES_ONLY - CRITICS))
def test_optimizers_of_sequences_resume_byte_for_byte(name, tmp_path):
    build, rounds = made("optimizer", name), (8, 8, 8)
    whole = play(tmp_path / "whole", build, SequenceProbe(), rounds)
    for _ in rounds:
        with suppress(Killed):
            play(tmp_path / "killed", build, SequenceProbe(), rounds, record=Fragile)
    assert contents(tmp_path / "killed") == whole


@pytest.mark.parametrize("name", sorted(set(representatives("optimizer")) & BOXES_ONLY))
def test_optimizers_of_boxes_say_so(name):
    with pytest.raises(UnsuitableError, match="searches a Box, got the domain Sequences"):
        made("optimizer", name)(problem_of(SequenceProbe(), (8, 8)), generator(0))


@pytest.mark.parametrize("name", sorted(set(representatives("optimizer")) & CRITICS))
def test_optimizers_with_a_critic_say_what_they_need(name):
    with pytest.raises(
        UnsuitableError, match=r"transitions of a control task's data set, and this task has none: choose"
    ):
        made("optimizer", name)(problem_of(SequenceProbe(), (8, 8)), generator(0))


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
    call(suite(Sound), test, tmp_path)


@pytest.mark.parametrize(("fault", "test"), [(fault, test) for fault, tests in FAULTS.items() for test in tests])
def test_a_fault_is_caught(fault, test, tmp_path):
    with pytest.raises((AssertionError, OptimizerError, RecordError)):
        call(suite(fault), test, tmp_path)


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


def test_check_plugin_gives_pytests_status(capfd):
    assert check_plugin("optimizer", "prior_sampling", rounds=(8, 8)) == 0
    assert "passed" in capfd.readouterr().out
    assert check_plugin("optimizer", "prior_sampling", overrides={"typo": 1}) == 1
    assert "no setting typo" in capfd.readouterr().out


def test_check_plugin_knows_its_suites_attributes():
    with pytest.raises(TypeError, match="TaskSuite has no attribute sample"):
        check_plugin("task", "airfoil", sample=3)
