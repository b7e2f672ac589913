import dataclasses
import warnings

import pytest
import torch

from bbo_bench import load_task
from bbo_bench.core import Domain, Optimizer, Prior, Problem, Task
from bbo_bench.oracle import true_scores
from bbo_bench.plugins import PluginError
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import problem_of

METHODS = {
    Domain: {"check", "sample", "to"},
    Prior: {"sample", "decode", "encode", "to"},
    Task: {"prior", "evaluate", "valid", "features", "reference", "render"},
    Optimizer: {"ask", "tell", "recommend", "state_dict", "load_state_dict"},
}


@pytest.mark.parametrize("noun", METHODS)
def test_a_noun_says_what_it_lacks(noun):
    assert noun.__abstractmethods__ == METHODS[noun]
    with pytest.raises(TypeError, match="abstract"):
        noun()


def test_a_problem_cannot_be_changed():
    problem = problem_of(Probe(), (4, 8))
    assert {field.name for field in dataclasses.fields(Problem)} == {"domain", "prior", "budget", "offline"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.budget = (1000,)


def test_what_is_optional_has_a_neutral_default():
    class Least(Optimizer):
        ask = tell = recommend = state_dict = load_state_dict = lambda self, *_: None

    least = Least(problem_of(Probe(), (4,)), generator(0))
    assert least.predict(torch.zeros(3, 2)) is None
    assert least.diagnostics() == {}
    assert Probe().validate(torch.zeros(3, 2)) is None


def test_a_task_is_loaded_by_name_with_settings_of_ones_own():
    task = load_task("ackley_20", noise_std=0.5)
    assert task.noise_std == 0.5 and task.domain.shape == (20,)
    with pytest.raises(PluginError, match=r"no task named 'ackly_20'.*did you mean ackley_20"):
        load_task("ackly_20")
    with pytest.raises(PluginError, match=r"has no setting noise; did you mean noise_std"):
        load_task("ackley_20", noise=0.5)
    with pytest.raises(ValueError, match=r"^sampler must be one of ddpm, .*got 'dpm'"):
        load_task("nav1d", sampler="dpm")


def test_designs_of_another_domain_are_not_scored():
    with pytest.raises(ValueError, match=r"designs must be `n x 9`, got \(1, 8\)"):
        true_scores(load_task("peptide_mhc"), torch.zeros(1, 8, dtype=torch.long))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": torch.zeros(4, 1)}, r"expected .*reward and done n, got .*'reward': \(4, 1\)"),
        ({"following": torch.zeros(3, 1)}, r"got .*'following': \(3, 1\)"),
        ({"action": torch.zeros(4)}, r"got .*'action': \(4,\)"),
        ({"done": torch.zeros(4)}, r"expected bools, got done of torch.float32"),
        ({"reward": torch.full((4,), torch.nan)}, "got reward with NaN"),
        ({"given": torch.zeros(2, dtype=torch.bool)}, "got nothing marked"),
    ],
)
def test_transitions_that_do_not_belong_together_are_refused(change, message):
    offline = Probe().offline()
    few = {name: getattr(offline, name)[:4] for name in ("observation", "action", "reward", "following", "done")}
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(offline, **few | change)


def test_a_problem_has_the_transitions_of_a_control_task():
    problem = Probe().problem((8, 8), torch.device("cpu"))
    assert problem.budget == (8, 8) and problem.offline is not None
    observation, action = problem.offline.steps(torch.tensor([[1.0, 2.0]]))
    assert observation.tolist() == [[[1.0]]] and action.tolist() == [[[2.0]]]
    assert problem.offline.given.tolist() == [True, False]
    assert load_task("ackley_20").problem((8,), torch.device("cpu")).offline is None


def test_a_changed_black_box_is_told_that_its_constants_are_anothers():
    with pytest.warns(UserWarning, match="for which y_prior and best_known of airfoil were not"):
        task = load_task("airfoil", alpha=2.0)
    assert task.alpha == 2.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_task("airfoil", alpha=2.0, y_prior=0.884, best_known=2.396)
