"""Conformance suites for plugins.

Subclass one in a test module, as `class TestMine(OptimizerSuite)`, and say `name = "mine"`. A costly method names
cheaper settings for the suite under `quick` in its YAML; CONTRIBUTING.md has an example.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bbo_bench.plugins import VARIABLE, Kind
from bbo_bench.testing.optimizer import OptimizerSuite
from bbo_bench.testing.probe import MoleculeProbe, Probe, PromptedProbe, SequenceProbe
from bbo_bench.testing.references import reachable
from bbo_bench.testing.task import TaskSuite

__all__ = [
    "MoleculeProbe",
    "OptimizerSuite",
    "Probe",
    "PromptedProbe",
    "SequenceProbe",
    "TaskSuite",
    "check_plugin",
    "reachable",
]

SUITES: dict[Kind, type] = {"task": TaskSuite, "optimizer": OptimizerSuite}


def check_plugin(kind: Kind, name: str, **attributes: object) -> int:
    """Run the conformance suite on a plugin through pytest, as its author would.

    Args:
        kind: Which suite.
        name: The plugin.
        **attributes: Of the suite, for instance `overrides={"updates": 5}`.

    Returns:
        pytest's exit status: 0 if the plugin conforms.

    Raises:
        TypeError: If the suite has no such attribute.
    """
    suite = SUITES[kind]
    if unknown := sorted(key for key in attributes if not hasattr(suite, key)):
        raise TypeError(f"{suite.__name__} has no attribute {', '.join(unknown)}")
    body = "".join(f"    {key} = {value!r}\n" for key, value in {"name": name, **attributes}.items())
    if roots := os.environ.get(VARIABLE):  # pytest's folder is another
        os.environ[VARIABLE] = os.pathsep.join(os.path.abspath(root) for root in roots.split(os.pathsep) if root)
    source = f"from {suite.__module__} import {suite.__name__}\n\n\nclass TestPlugin({suite.__name__}):\n{body}"
    with TemporaryDirectory() as folder:
        file = Path(folder, f"test_{Path(folder).name}.py")  # a name of its own, as modules are imported once
        file.write_text(source)
        options = ["-q", "--tb=short", "--import-mode=importlib", f"--rootdir={folder}", "-p", "no:cacheprovider"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # pytest's plugins are imported by now
        return int(pytest.main([str(file), *options]))
