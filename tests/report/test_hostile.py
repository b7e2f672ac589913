"""Results come from strangers: nothing in a folder is executed, whatever it says."""

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bbo_bench.plugins import PluginError
from bbo_bench.recorded import recorded_task
from bbo_bench.report import write_report

Make = Callable[..., Path]
METRICS = {"score": [0.1, 0.2, 0.3, 0.4], "reward_mean": [1.0, 2.0, 3.0, 4.0], "validity": [1.0] * 4}


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def attacks(trap: Path) -> Mapping[str, Mapping[str, Any]]:
    """What a record may say of its task to have a pickle read."""
    read = {"_target_": "pandas.read_pickle", "filepath_or_buffer": str(trap)}
    load = {"_target_": "numpy.load", "file": str(trap), "allow_pickle": True}
    toy = {"_target_": "toy_task.Toy"}
    return {
        "the class": read,
        "of joblib": {"_target_": "joblib.load", "filename": str(trap)},
        "of numpy": load,
        "of torch": {"_target_": "torch.load", "f": str(trap), "weights_only": False},
        "a setting": toy | {"noise_std": load},
        "in pairs": toy | {"parts": [("a", read)]},
        "in a list": toy | {"parts": [{"a": 1}, [read]]},
        "by arguments": toy | {"_args_": [read]},
        "without words of its own": {"noise_std": read},
        "by a reference": toy | {"noise_std": "${oc.env:HOME}"},
    }


@pytest.mark.parametrize("name", attacks(Path()))
@pytest.mark.usefixtures("unpainted")
def test_no_class_of_a_record_is_called(make: Make, results: Path, tmp_path: Path, name: str) -> None:
    trap, sprung = tmp_path / "trap.pkl", tmp_path / "sprung"
    trap.write_bytes(pickle.dumps(Touch(sprung)))
    folder = make("sqdf", 0, METRICS)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["task"] = {"name": "toy", **attacks(trap)[name]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    page = write_report([results], tmp_path / "out").read_text()
    assert "_gallery` is missing: the record of task toy has " in page
    assert not sprung.exists()
    with pytest.raises(PluginError, match=r"which its YAML has not; nothing is built"):
        recorded_task(config["task"])


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch sprung']",
        "name: !!python/name:os.system",
        "a: !!pairs [b: c]",
        "!!set {a}",
    ],
)
@pytest.mark.usefixtures("unpainted")
def test_no_tag_of_yaml_is_obeyed(make: Make, results: Path, tmp_path: Path, text: str) -> None:
    make("ddpo", 0, METRICS)
    (make("sqdf", 0, METRICS) / "config.yaml").write_text(text)
    assert "could not determine a constructor for the tag" in write_report([results], tmp_path / "out").read_text()
    assert not Path("sprung").exists()


def test_a_record_is_built_by_what_is_installed(toy: str) -> None:
    assert type(recorded_task({"name": "toy", "_target_": toy})).__name__ == "Toy"
    with pytest.raises(PluginError, match="there is no task named 'gone'"):
        recorded_task({"name": "gone", "_target_": toy})
    with pytest.raises(PluginError, match="toy has no setting speed"):
        recorded_task({"name": "toy", "_target_": toy, "speed": 1})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda file: np.savez(file, queried_0=np.array([{}], dtype=object)), "Object arrays cannot be loaded"),
        (lambda file: file.write_bytes(b"PK"), "cannot be read"),
        (lambda file: np.savez(file, queried_0=np.zeros((64, 3))), "the kept designs are none of this task"),
        (lambda file: np.savez(file, queried_1=np.zeros((64, 2))), "the kept designs are none of this task"),
    ],
    ids=["objects", "damaged", "of another shape", "of another round"],
)
def test_designs_that_cannot_be_drawn_cost_the_gallery_only(
    make: Make, results: Path, tmp_path: Path, content: Callable[[Path], object], reason: str
) -> None:
    folder = make("sqdf", 0, METRICS)
    content(folder / "designs.npz")
    facts = json.loads((folder / "provenance.json").read_text())
    facts["files"].pop("designs.npz")
    (folder / "provenance.json").write_text(json.dumps(facts))
    page = write_report([results], tmp_path / "out").read_text()
    [line] = [line for line in page.splitlines() if line.startswith("`toy_gallery` is missing")]
    assert reason in line
