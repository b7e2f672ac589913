"""A setting out of range is refused where it is given, with what was expected and what was got."""

import pytest

from bbo_bench.diffusion.transition import Transition
from bbo_bench.testing.probe import Probe, problem_of

WRONG = [
    ("cma_es", {"sigma": -1.0}, "sigma > 0"),
    ("cma_es", {"parents": 0.0}, "0 < parents <= 1"),
    ("cma_es", {"parents": -0.5}, "0 < parents <= 1"),
    ("genetic", {"parents": 0.0}, "0 < parents <= 1"),
    ("genetic", {"crossover": 1.5}, "0 <= crossover <= 1"),
    ("genetic", {"mutations": 0.5}, "mutations >= 1"),
    ("genetic", {"mutation_rate": 2.0}, "0 <= mutation_rate <= 1"),
    ("turbo", {"chunk": 0}, "chunk >= 1"),
    ("turbo", {"length": 2.0}, "length <= length_max"),
    ("qlogei", {"batch": 0}, "counts of at least 1"),
    ("qlogei", {"around_best": 0.0}, "around_best > 0"),
]


@pytest.mark.parametrize(("name", "setting", "expected"), WRONG)
def test_a_setting_out_of_range_is_refused(problem, build, name, setting, expected):
    [(key, value)] = setting.items()
    with pytest.raises(ValueError, match=f"expected .*{expected}.*got .*{key}.*{value}"):
        build(name, problem, **setting)


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("sqdf", {"rollout_every": 0}, "counts of at least 1, got rollout_every=0"),
        ("sqdf", {"replay": "best"}, "one of random, .*got 'best'"),
        ("sqdf", {"estimate": "ddim4"}, "one of consistency, tweedie, ddim2, got 'ddim4'"),
        ("sqdf", {"replay": "on_policy", "on_policy_fraction": 0.5}, "must lie in .*got 0.5 in mode on_policy"),
        ("sqdf", {"proxy": None}, "got proxy=null"),
        ("sqdf", {"gamma": 1.5}, "gamma must lie in"),
        ("ddpo", {"minibatches": 0}, "counts of at least 1, got minibatches=0"),
        ("ddpo", {"clip": 0.0}, "clip > 0.*got clip=0.0"),
        ("ddpo", {"max_advantage": 0.0}, "must be positive, got 0.0"),
        ("ddpo", {"kl_weight": -1.0, "kl_budget": None}, "at least 0, got -1.0"),
        (
            "ddpo",
            {"kl_weight": 0.1},
            "kl_weight or kl_budget, and null for the other, got kl_weight=0.1, kl_budget=16.0",
        ),
        ("ddpo", {"kl_budget": 0.0}, "expected kl_budget > 0 nats, got 0.0"),
    ],
)
def test_fine_tuners_refuse_a_setting_out_of_range(build, name, setting, message):
    with pytest.raises(ValueError, match=message):
        build(name, problem_of(Probe(), (8,)), **setting)


def test_fine_tuners_refuse_a_deterministic_sampler(build):
    problem = problem_of(Probe(), (8,))
    problem.prior.transition = Transition(problem.prior.scheduler, steps=5, eta=0.0)
    with pytest.raises(ValueError, match="stochastic sampler"):
        build("sqdf", problem)
