"""Bridges ask for what the libraries' own loops ask for, and go on after a stop."""

import pytest
import torch

from bbo_bench.core import Problem
from bbo_bench.domains import Box
from bbo_bench.seeding import generator, seeded
from bbo_bench.testing import Probe, SequenceProbe
from bbo_bench.testing.probe import problem_of

optuna = pytest.importorskip("optuna")
nevergrad = pytest.importorskip("nevergrad")

ROUNDS = (8, 12, 16)


def scores(x):
    return -(x.double() - 1).square().flatten(1).sum(1)


def played(optimizer, rounds=ROUNDS):
    for i, n in enumerate(rounds):
        optimizer.rng.manual_seed(i)
        prior = optimizer.problem.prior
        x = optimizer.ask(n) if i else prior.decode(prior.sample(n, generator(0, "first")))
        optimizer.tell(optimizer.domain.check(x), scores(x))
    return optimizer


@pytest.mark.filterwarnings("ignore:QMCSampler is experimental")
@pytest.mark.parametrize("name", ["TPESampler", "RandomSampler", "QMCSampler", "NSGAIISampler", "CmaEsSampler"])
def test_optuna_samples_as_in_its_own_loop(build, name):
    if name == "CmaEsSampler":
        pytest.importorskip("cmaes")
    optimizer = played(build("optuna", problem_of(Probe(), ROUNDS), sampler=name))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {f"x_{i}": optuna.distributions.FloatDistribution(0, 1) for i in range(2)}
    study, sampler = optuna.create_study(direction="maximize"), getattr(optuna.samplers, name)
    for (x, y), seed in zip(optimizer.rounds, optimizer.seeds, strict=True):
        if seed is None:
            for row, score in zip(optimizer.to_vectors(x).tolist(), y.tolist(), strict=True):
                params = {"x_0": row[0], "x_1": row[1]}
                study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=score))
            continue
        with seeded(generator(seed, "ask")) as lent:
            study.sampler = sampler(seed=lent)
            trials = [study.ask(space) for _ in x]
        u = torch.tensor([[trial.params["x_0"], trial.params["x_1"]] for trial in trials]).double()
        assert torch.equal(optimizer.to_designs(u), x)
        for trial, score in zip(trials, y.tolist(), strict=True):
            study.tell(trial, score)
    assert optimizer.seeds[0] is None and len(optimizer.rounds) == 3


@pytest.mark.parametrize("name", ["NgIohTuned", "TwoPointsDE", "CMA", "OnePlusOne", "ScrHammersleySearch"])
def test_nevergrad_asks_as_in_its_own_loop(build, name):
    optimizer = played(build("nevergrad", problem_of(Probe(), ROUNDS), optimizer=name))
    space = nevergrad.p.Array(shape=(2,), lower=0.0, upper=1.0)
    space.random_state.seed(0)
    own = nevergrad.optimizers.registry[name](space, budget=36, num_workers=16)
    for (x, y), seed in zip(optimizer.rounds, optimizer.seeds, strict=True):
        if seed is None:
            for row, score in zip(optimizer.to_vectors(x).numpy(), y.tolist(), strict=True):
                own.tell(own.parametrization.spawn_child(new_value=row), -score)
            continue
        with seeded(generator(seed, "ask")) as lent:
            own.parametrization.random_state.seed(lent)
            candidates = [own.ask() for _ in x]
        u = torch.tensor([list(each.value) for each in candidates]).double()
        assert torch.equal(optimizer.to_designs(u), x)
        for candidate, score in zip(candidates, y.tolist(), strict=True):
            own.tell(candidate, -score)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ax_generates_as_in_its_own_loop(build):
    client = pytest.importorskip("ax.api.client")
    configs = pytest.importorskip("ax.api.configs")
    optimizer = played(build("ax", problem_of(Probe(), (8, 3, 2)), method="fast"), (8, 3, 2))
    own = client.Client(random_seed=0)
    own.configure_experiment(
        [configs.RangeParameterConfig(name=f"x_{i}", bounds=(0, 1), parameter_type="float") for i in range(2)]
    )
    own.configure_optimization(objective="score")
    for (x, y), seed in zip(optimizer.rounds, optimizer.seeds, strict=True):
        if seed is None:
            rows = optimizer.to_vectors(x).tolist()
            trials = [own.attach_trial({"x_0": row[0], "x_1": row[1]}) for row in rows]
        else:
            with seeded(generator(seed, "ask")) as lent:
                own.configure_generation_strategy(initialization_budget=0, initialization_random_seed=lent)
                asked = own.get_next_trials(max_trials=len(x))
            u = torch.tensor([[each["x_0"], each["x_1"]] for each in asked.values()]).double()
            assert torch.equal(optimizer.to_designs(u), x)
            trials = list(asked)
        for trial, score in zip(trials, y.tolist(), strict=True):
            own.complete_trial(trial, raw_data={"score": score})
    assert optimizer.rounds[-1][1].mean() > optimizer.rounds[0][1].mean()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param("ax", {}, marks=pytest.mark.slow),
        ("optuna", {}),
        ("optuna", {"sampler": "QMCSampler"}),
        ("optuna", {"sampler": "NSGAIISampler", "settings": {"population_size": 10}}),
        ("nevergrad", {}),
        ("nevergrad", {"optimizer": "TwoPointsDE"}),
    ],
)
@pytest.mark.parametrize("probe", [Probe, SequenceProbe])
def test_a_run_goes_on_where_it_was_stopped(build, name, settings, probe):
    """The library is replayed, and asking changes nothing."""
    pytest.importorskip(name)
    optimizer = played(build(name, problem_of(probe(), (*ROUNDS, 9)), **settings))
    other = build(name, problem_of(probe(), (*ROUNDS, 9)), **settings)
    other.load_state_dict(optimizer.state_dict())
    asked = []
    for each in (optimizer, optimizer, other):
        each.rng.manual_seed(7)
        asked.append(each.ask(9))
    assert torch.equal(asked[0], asked[1]) and torch.equal(asked[0], asked[2])


def test_designs_that_were_not_asked_for_are_shown(build):
    optimizer = played(build("optuna", problem_of(Probe(), ROUNDS)))
    optimizer.ask(4)
    x = torch.zeros(4, 2)
    optimizer.tell(x, scores(x))
    assert optimizer.seeds[-1] is None
    assert [trial.state.name for trial in optimizer.library.trials[-4:]] == ["COMPLETE"] * 4


def test_optuna_learns(build):
    """TPE, with 36 queries in 2 dimensions, is better than its own random start."""
    box = Box(torch.zeros(2), torch.ones(2))
    problem = problem_of(Probe(), (20, 40, 40))
    optimizer = build("optuna", Problem(box, problem.prior, problem.budget))
    for i, n in enumerate(problem.budget):
        optimizer.rng.manual_seed(i)
        x = optimizer.ask(n) if i else box.sample(n, generator(0))
        optimizer.tell(x, -(x.double() - 0.3).square().sum(1))
    means = [float(y.mean()) for _, y in optimizer.rounds]
    assert means[2] > means[0] / 2


def test_unknown_names_and_settings_are_refused_with_what_there_is(build):
    problem = problem_of(Probe(), ROUNDS)
    with pytest.raises(ValueError, match=r"no sampler 'TPE'; .*TPESampler"):
        build("optuna", problem, sampler="TPE")
    with pytest.raises(ValueError, match=r"TPESampler: .*unexpected keyword argument 'tries'"):
        build("optuna", problem, settings={"tries": 3})
    with pytest.raises(ValueError, match=r"no optimizer 'NGopt'; .*NGOpt"):
        build("nevergrad", problem, optimizer="NGopt")
    with pytest.raises(ValueError, match=r"quality, fast, random_search, got 'slow'"):
        build("ax", problem, method="slow")
