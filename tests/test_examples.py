"""What CONTRIBUTING.md shows is what lies in examples/, and it works."""

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, problem, settled
from bbo_bench.testing.laws import resting

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FINE_TUNER = ROOT / "examples/optimizers/weighted_denoising"
FOLDERS = [ROOT / "examples/tasks/ring", ROOT / "examples/optimizers/hill_climb", FINE_TUNER]
SHOWN = re.findall(r"`(examples/\S+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)
[COMMANDS] = re.findall(r"```sh\nexport (BBO_BENCH_PLUGINS=\S+)\n(.*?)```", PAGE, re.DOTALL)


def files(folder):
    return [file for file in folder.iterdir() if file.suffix in (".py", ".yaml")]


def bbo_bench(*arguments, plugins=None):
    variable, _, roots = COMMANDS[0].partition("=")
    folders = plugins or roots.replace("$PWD", str(ROOT))
    environment = os.environ | {variable: str(folders), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", "import sys; from bbo_bench.cli import main; sys.exit(main())", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_every_file_of_the_examples_is_shown_as_it_is():
    assert {name for name, _ in SHOWN} == {str(f.relative_to(ROOT)) for folder in FOLDERS for f in files(folder)}
    for name, text in SHOWN:
        assert (ROOT / name).read_text() == text, f"{name} and CONTRIBUTING.md differ"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_takes_at_most_40_lines(folder):
    assert sum(len(file.read_text().splitlines()) for file in files(folder)) <= 40


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            line.split()[1:], marks=pytest.mark.slow if "weighted" in line or line.endswith("check task=ring") else ()
        )
        for line in COMMANDS[1].splitlines()
    ],
    ids=" ".join,
)
def test_the_commands_run(command, tmp_path):
    done = bbo_bench(*command, *([f"results={tmp_path}"] if command[0] == "run" else []))
    assert done.returncode == 0, done.stdout + done.stderr
    if command[0] == "run":
        metrics = tmp_path / "default/ring/hill_climb/seed_0/metrics.csv"
        assert [line.split(",")[1] for line in metrics.read_text().splitlines()] == ["queries", "32", "96"]
    else:
        assert re.search(r"\d+ passed", done.stdout)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("motif", ["genetic"]), ("reach", ["qv_pg_iql", "+optimizer.proxy.updates=50"])],
)
@pytest.mark.slow
def test_tasks_with_a_prior_can_be_written_trained_and_run(name, optimizer, tmp_path):
    shown = dict(re.findall(rf"`({name}/\w+\.\w+)`[^\n]*:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
    assert set(shown) == {f"{name}/__init__.py", f"{name}/{name}.yaml", f"{name}/prior.yaml"}
    (tmp_path / f"tasks/{name}").mkdir(parents=True)
    for file, text in shown.items():
        quick = re.sub(r"  steps: 4000|(?<=training: {)steps: 1000", "  steps: 60", text).replace(
            "passes: 20", "passes: 1"
        )
        (tmp_path / "tasks" / file).write_text(quick)
    chosen = [f"task={name}", f"optimizer={optimizer[0]}", *optimizer[1:]]
    run = ("run", *chosen, "budget=smoke", f"results={tmp_path / 'results'}")
    assert f"make them by `bbo-bench prior train task={name}`" in bbo_bench(*run, plugins=tmp_path).stderr
    assert bbo_bench("prior", "train", f"task={name}", plugins=tmp_path).returncode == 0
    done = bbo_bench(*run, plugins=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / f"tasks/{name}/prior.yaml").unlink()
    message = bbo_bench("prior", "train", f"task={name}", plugins=tmp_path).stderr
    assert message.startswith("error: expected ") and "CONTRIBUTING.md" in message


def test_weighted_denoising_rests_near_the_tilted_prior():
    spec = importlib.util.spec_from_file_location("weighted_denoising", FINE_TUNER / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    optimizer = module.WeightedDenoising(
        problem(),
        generator(0),
        proxy=Linear,
        kl_weight=1.0,
        training=replace(TRAINING, learning_rate=1e-3),
        iterations=25,
        samples=2048,
        updates=10,
        temperature=1.0,
    )
    step = optimizer.transition
    _, natural = moments(step, torch.zeros(step.steps))
    mean, variance = resting(step, lambda mean, variance: (mean + variance, variance, 1.0))
    assert mean == pytest.approx(natural, rel=0.03), "the mean of N(0, v) tilted by exp(b·x) is v b"
    check(settled(optimizer), mean * Linear().b, variance)


def test_the_command_that_is_shown_measures_y_prior():
    assert "\nbbo-bench card task=ring\n" in PAGE
    done = bbo_bench("card", "task=ring")
    assert done.returncode == 0, done.stderr
    y_prior = yaml.safe_load(done.stdout)["scores"]["y_prior"]
    assert abs(y_prior) < 5 / (2 * 10_000) ** 0.5, "a point on the circle has a variance of 1/2 in x"


@pytest.mark.slow
def test_the_suite_that_is_shown_runs(tmp_path):
    [source] = re.findall(r"```python\n(from bbo_bench.testing.*?)```", PAGE, re.DOTALL)
    (tmp_path / "test_hill_climb.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    environment = os.environ | {"BBO_BENCH_PLUGINS": str(ROOT / "examples"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
