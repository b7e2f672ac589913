import dataclasses

import pytest
import torch

from bbo_bench.core import Domain, Optimizer, Prior, Problem, Task
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
    assert {field.name for field in dataclasses.fields(Problem)} == {"domain", "prior", "budget"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.budget = (1000,)


def test_what_is_optional_has_a_neutral_default():
    class Least(Optimizer):
        ask = tell = recommend = state_dict = load_state_dict = lambda self, *_: None

    least = Least(problem_of(Probe(), (4,)), generator(0))
    assert least.predict(torch.zeros(3, 2)) is None
    assert least.diagnostics() == {}
    assert Probe().validate(torch.zeros(3, 2)) is None
