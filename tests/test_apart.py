"""An optimizer in a process of its own: the same bytes, and nothing to find there."""

from multiprocessing import resource_sharer

import pytest
from omegaconf import OmegaConf

from bbo_bench.apart import apart
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe, PromptedProbe
from bbo_bench.testing.probe import FILES, made, play, problem_of

RUN = ("run", "task=toy", "budget.rounds=[4,4,4]", "budget.evaluation=8", "budget.validation=0", "device=cpu")


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("name", ["toy_search", pytest.param("genetic", marks=pytest.mark.slow)])
def test_the_same_bytes(cli, tmp_path, name):
    for isolation in ("none", "process"):
        assert cli(*RUN, f"optimizer={name}", f"isolation={isolation}", f"name={isolation}").status == 0
    one, other = (tmp_path / f"results/{each}/toy/{name}/seed_0" for each in ("none", "process"))
    assert contents(one) == contents(other)


def test_what_is_in_reach_of_an_optimizer(cli, tmp_path):
    found = {}
    for isolation in ("none", "process"):
        arguments = ("optimizer=toy_faulty", "optimizer.fault=search", f"isolation={isolation}", f"name={isolation}")
        assert cli(*RUN, *arguments).status == 0
        lines = (tmp_path / f"results/{isolation}/toy/toy_faulty/seed_0/metrics.csv").read_text().splitlines()
        found[isolation] = [float(line.rpartition(",")[2]) for line in lines[1:]]
    assert min(found["none"]) > 0
    assert found["process"] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raise", "OptimizerError: ToyFaulty.tell raised ZeroDivisionError: division by zero"),
        ("exit", "OptimizerError: ToyFaulty.tell: its process ended, by an exit or a crash"),
        ("crash", "OptimizerError: ToyFaulty.tell: its process ended, by an exit or a crash"),
        ("hang", "RunEnded: the run took more than the timeout of 3 s; with more the same command goes on"),
    ],
)
def test_what_goes_wrong_there_is_an_error_here(cli, fault, message):
    outcome = cli(
        *RUN,
        "optimizer=toy_faulty",
        f"optimizer.fault={fault}",
        "isolation=process",
        f"timeout={3 if fault == 'hang' else 300}",
    )
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1] == f"error: {message}"


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_a_problem_that_is_changed_is_noticed_where_it_is(cli, isolation):
    outcome = cli(*RUN, "optimizer=toy_faulty", "optimizer.fault=mutate", f"isolation={isolation}")
    assert "ToyFaulty has changed its problem in place" in outcome.err


def test_the_same_bytes_whatever_the_strides(cli, tmp_path):
    folders = []
    for isolation in ("none", "process"):
        arguments = ("optimizer=toy_faulty", "optimizer.fault=strided", f"isolation={isolation}", f"name={isolation}")
        assert cli(*RUN, *arguments).status == 0
        folders.append(tmp_path / f"results/{isolation}/toy/toy_faulty/seed_0")
    assert contents(folders[0]) == contents(folders[1])


SETTINGS = {
    "prompts": ("prior_sampling", {}, PromptedProbe, (6, 6)),
    "starts": (
        "reinforce_iql",
        {},
        lambda: made("task", "nav1d_planner", {"control": {"episodes": 4, "every": 16}}),
        (0, 0),
    ),
    "transitions": (
        *("reinforce_iql", {"proxy": {"online": 20}}),
        *(lambda: made("task", "nav1d_planner", {"control": {"episodes": 4, "every": 16}}), (8, 8)),
    ),
}


@pytest.mark.parametrize(
    "what", ["prompts", *(pytest.param(what, marks=pytest.mark.slow) for what in SETTINGS if what != "prompts")]
)
def test_what_designs_are_made_for_reaches_the_other_process(what, tmp_path):
    name, changes, task, rounds = SETTINGS[what]
    choice = find("optimizer", name)
    settings = OmegaConf.to_container(OmegaConf.merge(choice.settings, choice.quick, changes))
    here = play(tmp_path / "here", made("optimizer", name, changes), task(), rounds, evaluation=16)
    with apart(settings, 1) as build:
        assert play(tmp_path / "there", build, task(), rounds, evaluation=16) == here


def test_nothing_listens_to_the_other_process():
    """torch's own way of pickling tensors to a process opens a socket at which the sender unpickles what comes."""
    choice = find("optimizer", "genetic")
    problem = problem_of(Probe(), (8, 8))
    with apart(choice.settings, 1) as build:
        optimizer = build(problem, generator(0))
        optimizer.state_dict()
        assert resource_sharer._resource_sharer._listener is None
    assert type(optimizer).__name__ == "Genetic"


def test_an_isolation_is_one_of_two(cli):
    assert (
        "isolation must be one of none, process, got thread" in cli(*RUN, "optimizer=genetic", "isolation=thread").err
    )
