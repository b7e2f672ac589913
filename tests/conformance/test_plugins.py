"""The public suites over every plugin."""

from contextlib import suppress

import pytest

from bbo_bench.core import UnsuitableError
from bbo_bench.plugins import choices
from bbo_bench.seeding import generator
from bbo_bench.testing import (
    MoleculeProbe,
    OptimizerSuite,
    Probe,
    PromptedProbe,
    SequenceProbe,
    TaskSuite,
    check_plugin,
)
from bbo_bench.testing.probe import Fragile, Killed, contents, made, play, problem_of, representatives

EMOJI = ["emoji", "emoji_aesthetic", "emoji_align", "emoji_compress"]
SLOW_ORACLES = [*EMOJI, "image_class", "molecule", "molecule_celecoxib", "molecule_plogp", "molecule_qed", "rna"]
"""Tasks that need minutes to score as many designs as the suite asks for: a slow test does so."""

_MEDIUM = [f"{robot}_medium{states}" for robot in ("halfcheetah", "hopper") for states in ("", "_states")]
SIMULATED = [*_MEDIUM, "kitchen", "pusht"]
"""Plans in a simulator, of which `metaworld_plate_slide` stands for all in a quick run."""

EVERY = {"pytestmark": [pytest.mark.every_plugin]}

WITHOUT_XFOIL = pytest.mark.filterwarnings("ignore:xfoil is not on the PATH:RuntimeWarning")
"""It is optional, and so are the numbers that it alone gives."""

for _name, _choice in choices("task").items():
    _lacking = [*_choice.missing, *_choice.blank]
    _needs = pytest.mark.skipif(bool(_lacking), reason=f"needs {_lacking}")
    _marks = [_needs, WITHOUT_XFOIL, pytest.mark.every_plugin, *[pytest.mark.slow] * (_name in SIMULATED)]
    _facts = {"name": _name, "pytestmark": _marks} | ({"many": 2000} if _name in SLOW_ORACLES else {})
    globals()[f"TestTask_{_name}"] = type(f"TestTask_{_name}", (TaskSuite,), _facts)

for _name in representatives("optimizer"):
    globals()[f"TestOptimizer_{_name}"] = type(f"TestOptimizer_{_name}", (OptimizerSuite,), {"name": _name, **EVERY})


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


class TestMoleculeProbe(TaskSuite):
    """So is the one of molecules."""

    @classmethod
    def fresh(cls):
        return MoleculeProbe()


class TestPromptedProbe(TaskSuite):
    """So is the one of prompts."""

    @classmethod
    def fresh(cls):
        return PromptedProbe()


BOXES_ONLY = {"cma_es", "sep_cma_es", "thompson"}
CRITICS = {name for name, it in choices("optimizer").items() if "critic" in str(it.settings.get("proxy"))}
"""They learn from transitions, which the task of sequences has none of."""


@pytest.mark.every_plugin
@pytest.mark.parametrize("name", sorted(set(representatives("optimizer")) - BOXES_ONLY - CRITICS - {"graph_ga"}))
def test_optimizers_of_sequences_resume_byte_for_byte(name, tmp_path):
    killed, whole = ended(name, SequenceProbe(), tmp_path)
    assert killed == whole


@pytest.mark.parametrize("name", ["graph_ga", "qlogei", "turbo"])
def test_optimizers_of_molecules_resume_byte_for_byte(name, tmp_path):
    killed, whole = ended(name, MoleculeProbe(), tmp_path)
    assert killed == whole


def ended(name, task, folder):
    """The files of a run that is killed after every round, and of one that is left alone."""
    build, rounds = made("optimizer", name), (8, 8, 8)
    whole = play(folder / "whole", build, task, rounds)
    for _ in rounds:
        with suppress(Killed):
            play(folder / "killed", build, task, rounds, record=Fragile)
    return contents(folder / "killed"), whole


@pytest.mark.every_plugin("ddpo", "cascade", "das", "genetic")
@pytest.mark.parametrize("name", sorted(set(representatives("optimizer")) - CRITICS))
def test_optimizers_for_prompts_resume_byte_for_byte_or_say_that_they_have_none(name, tmp_path):
    build, rounds, task = made("optimizer", name), (8, 8, 8), PromptedProbe()
    try:
        whole = play(tmp_path / "whole", build, task, rounds, evaluation=16)
    except UnsuitableError as error:
        assert "Captioned" in str(error) or "prompts that were never asked for" in str(error)
        return
    for _ in rounds:
        with suppress(Killed):
            play(tmp_path / "killed", build, task, rounds, evaluation=16, record=Fragile)
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


def test_check_plugin_gives_pytests_status(capfd):
    assert check_plugin("optimizer", "prior_sampling", rounds=(8, 8)) == 0
    assert "passed" in capfd.readouterr().out
    assert check_plugin("optimizer", "prior_sampling", overrides={"typo": 1}) == 1
    assert "no setting typo" in capfd.readouterr().out


def test_check_plugin_knows_its_suites_attributes():
    with pytest.raises(TypeError, match="TaskSuite has no attribute sample"):
        check_plugin("task", "airfoil", sample=3)
