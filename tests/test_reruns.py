"""Committed runs, made again: what the code does has not changed unless somebody meant it to.

`results/README.md` has the commands; after a change that is meant, they make the folder anew.
"""

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bbo_bench.provenance import processor

RESULTS = Path(__file__).parents[1] / "results" / "reruns"
RUNS = sorted(file.parent.relative_to(RESULTS) for file in RESULTS.glob("*/*/*/config.yaml"))


@pytest.mark.parametrize(
    "run", [pytest.param(run, id=str(run), marks=[pytest.mark.slow] * ("sqdf" in run.parts)) for run in RUNS]
)
def test_a_committed_run_is_made_again_byte_for_byte(run, tmp_path):
    provenance = json.loads((RESULTS / run / "provenance.json").read_text())
    libraries = {name: version(name) for name in ("torch", "numpy", "scipy", "diffusers", "peft")}
    other = {name: found for name, found in libraries.items() if provenance["versions"][name] != found}
    if other or platform.machine() != "x86_64":
        pytest.skip(f"made on x86_64 with other versions than {other}")
    if provenance["processor"].split()[0] != processor().split()[0]:
        pytest.skip(f"made on {provenance['processor']}: makers' square roots differ (bbo_bench/reproducible.py)")
    task, optimizer, seed = run.parts
    settings = [f"task={task}", f"optimizer={optimizer}", f"seed={seed.removeprefix('seed_')}", "budget=smoke"]
    command = [sys.executable, "-m", "bbo_bench", "run", "name=reruns", *settings, "reproducible=strict"]
    subprocess.run([*command, f"results={tmp_path}"], check=True, capture_output=True, timeout=240)
    for name in ("config.yaml", "ledger.csv", "metrics.csv"):
        assert (tmp_path / "reruns" / run / name).read_bytes() == (RESULTS / run / name).read_bytes(), name


def test_there_are_three_of_different_kinds():
    assert {run.parts[1] for run in RUNS} == {"sqdf", "ddpo", "genetic"}
