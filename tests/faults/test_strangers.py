"""Folders of strangers: whatever their files say, a report calls nothing that they name."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
import yaml

from bbo_bench.plugins import PluginError
from bbo_bench.recorded import recorded_task
from bbo_bench.report import ReportError, write_report
from bbo_bench.report.runs import designs, find_runs

RUN = ("run", "task=toy", "optimizer=toy_search", "budget.rounds=[8,8]", "budget.evaluation=8", "budget.validation=0")


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def tagged(function, argument):
    return f"!!python/object/apply:{function} ['{argument}']"


TARGETS = {
    "pandas": lambda trap: {"_target_": "pandas.read_pickle", "filepath_or_buffer": str(trap)},
    "joblib": lambda trap: {"_target_": "joblib.load", "filename": str(trap)},
    "numpy": lambda trap: {"_target_": "numpy.load", "file": str(trap), "allow_pickle": True},
    "torch": lambda trap: {"_target_": "torch.load", "f": str(trap), "weights_only": False},
    "pickle": lambda trap: {"_target_": "pickle.load", "file": str(trap)},
    "os": lambda trap: {"_target_": "os.system", "command": f"touch {trap.with_name('sprung')}"},
    "subprocess": lambda trap: {"_target_": "subprocess.call", "args": ["touch", str(trap.with_name("sprung"))]},
    "builtins": lambda trap: {"_target_": "builtins.eval", "_args_": [f"open({str(trap.with_name('sprung'))!r}, 'w')"]},
    "hydra": lambda trap: {"_target_": "hydra.utils.instantiate", "config": TARGETS["pandas"](trap)},
    "functools": lambda trap: {"_target_": "functools.partial", "_args_": [TARGETS["pandas"](trap)]},
    "import": lambda trap: {"_target_": "importlib.import_module", "name": "antigravity"},
}
PLACES = {
    "task": lambda config, evil: config.update(task={"name": "toy", **evil}),
    "optimizer": lambda config, evil: config.update(optimizer={"name": "toy_search", **evil}),
    "a setting of the task": lambda config, evil: config["task"].update(noise_std=evil),
    "a setting of the optimizer": lambda config, evil: config["optimizer"].update(step=evil),
    "a list": lambda config, evil: config["task"].update(parts=[[evil]]),
    "budget": lambda config, evil: config.update(budget=evil),
    "seed": lambda config, evil: config.update(seed=evil),
    "the whole": lambda config, evil: (config.clear(), config.update(evil)),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Where two sound runs are kept, once they are made."""
    return tmp_path_factory.mktemp("sound") / "results"


@pytest.fixture
def stranger(cli, sound, tmp_path):
    """A sound run, another whose files a stranger writes, and a trap."""
    if not sound.exists():
        assert cli(*RUN, "seed=0").status == cli(*RUN, "seed=1").status == 0
        (tmp_path / "results").rename(sound)
    shutil.copytree(sound, tmp_path / "results")
    trap = tmp_path / "trap.pkl"
    trap.write_bytes(pickle.dumps(Touch(tmp_path / "sprung")))
    return tmp_path / "results/default/toy/toy_search/seed_1", trap


def said(trap, whole=False):
    """The reasons why runs are left out of a report, or their tasks not built; the sound run is always read."""
    try:
        if whole:
            write_report([trap.parent / "results"], trap.parent / "out")
        found = find_runs([trap.parent / "results"])
    except ReportError as error:
        return [str(error)]
    assert any(run.seed == 0 for run in found.complete)
    reasons = list(found.left_out.values())
    for run in found.complete:
        try:
            designs(run)
            recorded_task(run.config["task"])
        except (ReportError, PluginError) as error:
            reasons.append(str(error))
    return reasons


def rewritten(folder, name, content):
    """Put a file in the place of another, and its digest where the record has it."""
    import hashlib

    (folder / name).write_bytes(content)
    facts = json.loads((folder / "provenance.json").read_text())
    facts["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "provenance.json").write_text(json.dumps(facts))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.usefixtures("unpainted")
def test_a_target_in_a_configuration(stranger, target, place):
    folder, trap = stranger
    config = yaml.safe_load((folder / "config.yaml").read_text())
    PLACES[place](config, TARGETS[target](trap))
    rewritten(folder, "config.yaml", yaml.safe_dump(config).encode())
    assert said(trap, whole=place == "task") or "optimizer" in place  # of which a report builds nothing
    assert not trap.with_name("sprung").exists()


@pytest.mark.parametrize("function", ["os.system", "subprocess.call", "eval", "exec", "builtins.open"])
@pytest.mark.parametrize("kind", ["apply", "new", "name", "module"])
def test_a_tag_in_a_configuration(stranger, function, kind):
    folder, trap = stranger
    tags = {
        "apply": f"!!python/object/apply:{function} ['touch {trap.with_name('sprung')}']",
        "new": f"!!python/object/new:{function} ['touch {trap.with_name('sprung')}']",
        "name": f"task: !!python/name:{function}",
        "module": f"task: !!python/module:{function.partition('.')[0]}",
    }
    rewritten(folder, "config.yaml", tags[kind].encode())
    assert any("could not determine a constructor for the tag" in reason for reason in said(trap))
    assert not trap.with_name("sprung").exists()


def objects(path, trap):
    np.savez(path, queried_0=np.array([Touch(trap.with_name("sprung"))], dtype=object), allow_pickle=True)


CONTENTS = {
    "an array of objects": lambda path, trap: objects(path, trap),
    "a pickle": lambda path, trap: shutil.copy(trap, path),
    "a state of torch's": lambda path, trap: torch.save({"a": Touch(trap.with_name("sprung"))}, path),
    "nothing": lambda path, trap: path.write_bytes(b""),
    "noise": lambda path, trap: path.write_bytes(np.random.default_rng(0).bytes(4000)),
    "a million brackets": lambda path, trap: path.write_bytes(b"[" * 1_000_000),
    "references to references": lambda path, trap: path.write_text(
        "a: &a [1]\n" + "".join(f"{y}: &{y} [{', '.join(['*' + x] * 9)}]\n" for x, y in zip("abcdef", "bcdefg"))  # noqa: B905
    ),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(
    "name",
    ["config.yaml", "metrics.csv", "ledger.csv", "designs.npz", "recommended.npz", "provenance.json", "error.txt"],
)
def test_a_file_that_is_something_else(stranger, tmp_path, name, content):
    folder, trap = stranger
    aside = tmp_path / "content.npz"
    CONTENTS[content](aside, trap)
    if name in ("provenance.json", "error.txt"):
        (folder / name).write_bytes(aside.read_bytes())
    else:
        rewritten(folder, name, aside.read_bytes())
    assert said(trap) or name == "ledger.csv"  # which a report does not read
    assert not trap.with_name("sprung").exists()


@pytest.mark.parametrize("content", list(CONTENTS)[:5])
def test_a_state_that_is_something_else(cli, tmp_path, content):
    """`run` loads it, if at all, as numbers."""
    trap = tmp_path / "trap.pkl"
    trap.write_bytes(pickle.dumps(Touch(tmp_path / "sprung")))
    failing = cli(*RUN, "optimizer=toy_faulty", "optimizer.fault=raise")
    assert failing.status == 1
    folder = tmp_path / "results/default/toy/toy_faulty/seed_0"
    CONTENTS[content](folder / "content.npz", trap)
    (folder / "content.npz").rename(folder / "state.pt")
    again = cli(*RUN, "optimizer=toy_faulty", "optimizer.fault=raise")
    assert "state.pt cannot be read" in again.err
    assert not (tmp_path / "sprung").exists()
