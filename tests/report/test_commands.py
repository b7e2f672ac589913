"""Printed commands make the runs anew: Hydra composes from them the configurations that the runs have."""

import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import bbo_bench
from bbo_bench.launch import Schema
from bbo_bench.plugins import KINDS, choices, find
from bbo_bench.report.commands import commands, spelled
from bbo_bench.report.runs import Run
from bbo_bench.typed import left_to_runs, split

BUDGET = {"rounds": [8, 8], "evaluation": 64, "validation": 16}


def run(task: str = "airfoil", optimizer: str = "sqdf", seed: int = 0, **changes: Any) -> Run:
    plugins: dict[str, Any] = {
        kind: {"name": name, **find(kind, name).settings} for kind, name in (("task", task), ("optimizer", optimizer))
    }
    config = {**plugins, "budget": BUDGET, "seed": seed, "device": "cpu", "threads": 1}
    for key, value in changes.items():
        *outer, last = key.split("__")
        node = config
        for each in outer:
            node = node[each]
        node[last] = value
    folder = Path("results", "my name", task, optimizer, f"seed_{seed}")
    return Run(folder, task, optimizer, seed, config, pd.DataFrame(), {})


@pytest.fixture(scope="module")
def stored() -> None:
    """All plugins, where Hydra looks for them."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Schema)
    for kind in KINDS:
        for name, choice in choices(kind).items():
            store.store(group=kind, name=name, node=OmegaConf.create(choice.settings), provider=str(choice.file))


@pytest.mark.parametrize(
    "value",
    [1, -2.5e-7, True, None, "plain", "two words", "a,b=c", "é's", "", "null", "end\\", [1, "b c", None], {"a": [1.5]}],
)
def test_values_survive_the_grammar_of_hydra(value: Any) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"key={spelled(value)}"])
    assert OmegaConf.to_container(OmegaConf.create({"key": override.value()})) == {"key": value}


ODD = [None, "CC#N", "1e3", "null", "C'C", "é", "a\nb", "C/C=C\\C(O)", "[1]", 0.5, True, [1, "b c", None], {"a": [1.5]}]


@pytest.mark.parametrize("value", ODD, ids=str)
def test_a_sweep_hands_values_on_as_they_were_typed(value: Any) -> None:
    _, word = left_to_runs([f"optimizer.key={spelled(value)}", "-m"])
    [[line]] = split(OverridesParser.create().parse_overrides([word]), None)[0:1][0]
    (override,) = OverridesParser.create().parse_overrides([line])
    assert OmegaConf.to_container(OmegaConf.create({"key": override.value()})) == {"key": value}


def test_several_values_keep_their_quotes() -> None:
    overrides = OverridesParser.create().parse_overrides(["optimizer.key='1e3',CO,null", "seed=1,2", "name='1e3'"])
    assert split(overrides, None)[0][0] == ["optimizer.key='1e3'", "seed=1", "name='1e3'"]
    assert [len(batch) for batch in split(overrides, 4)] == [4, 2]


def test_commands_make_the_runs_and_no_others() -> None:
    runs = [run(optimizer=name, seed=seed) for name, seed in (("sqdf", 0), ("sqdf", 1), ("ddpo", 0))]
    words = [shlex.split(line) for line in commands(runs)]
    assert [line[3:7] for line in words] == [
        ["name='my name'", "task=airfoil", "optimizer=sqdf", "seed=0,1"],
        ["name='my name'", "task=airfoil", "optimizer=ddpo", "seed=0"],
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"task": "synthetic", "task__function": "rastrigin", "task__dim": 7},
        {"optimizer__kl_weight": 0.03, "optimizer__proxy__heads": 3, "threads": 2},
        {"optimizer__proxy": None, "optimizer__replay": "two words, é"},
        {"optimizer__new": {"_target_": "some.Class", "sizes": [1, 2]}, "task__extra": "x"},
    ],
)
@pytest.mark.usefixtures("stored")
def test_a_command_composes_the_configuration_of_its_run(changes: dict[str, Any]) -> None:
    one = run(**changes)
    (line,) = commands([one])
    overrides = shlex.split(line)[3:]
    with initialize_config_dir(str(Path(bbo_bench.__file__).parent / "conf"), version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("config", overrides=overrides))
    expected = {kind: {k: v for k, v in one.config[kind].items() if k != "name"} for kind in ("task", "optimizer")}
    assert {key: config[key] for key in ("task", "optimizer", "budget", "seed", "device", "threads")} == {
        **one.config,
        **expected,
    }


def test_what_a_run_lacks_is_left_to_its_commit() -> None:
    one = run()
    del one.config["optimizer"]["gamma"]
    assert commands([one]) == commands([run()])
