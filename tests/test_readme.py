"""What README.md shows is true: its links, its tables of plugins and metrics, its commands and its examples."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest
from hydra.utils import instantiate

from bbo_bench import load_results
from bbo_bench.launch import Sweep
from bbo_bench.names import METRICS
from bbo_bench.plan import Plan
from bbo_bench.plugins import choices, find
from bbo_bench.seeding import generator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FOLDERS = ("tasks", "optimizers", "results")
PAGES = [*ROOT.glob("*.md"), *(page for top in FOLDERS for page in ROOT.glob(f"{top}/**/*.md"))]
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE))
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
RUNS = [line for line in COMMANDS if line.startswith("bbo-bench run ")]
WALK = re.findall(r"```sh\n(.*?)```", SECTIONS["Run"], re.DOTALL)[0].splitlines()
FILES = re.findall(r"`((?:tasks|optimizers)/\S+)`:\n\n```\w+\n(.*?)```", README, re.DOTALL)
TINY = {"rounds": [8, 8], "evaluation": 8, "validation": 0}
LAUNCHERS = {"hydra/launcher=ray": "hydra_ray_launcher", "hydra/launcher=submitit_slurm": "hydra_submitit_launcher"}
SCORED = re.findall(r"```python\n(from bbo_bench import load_task.*?)```", README, re.DOTALL)
READ = re.findall(r"```python\n(\s*from bbo_bench import load_results.*?)```", README, re.DOTALL)
LARGE = re.compile(r"\+experiment=(?!control_passes)")
"""Presets of which each run takes part of a second to compose."""
execute = Plan.execute


@pytest.fixture
def planned(cli, monkeypatch) -> Callable[[str], list[Plan]]:
    """The runs that a line describes, composed and checked as it stands; none of them is started."""
    plans: list[Plan] = []
    check = Sweep._check_folders

    def stop(sweep: Sweep) -> None:
        check(sweep)
        plans.extend(sweep.plans)
        raise SystemExit(0)

    monkeypatch.setattr(Sweep, "_check_folders", stop)
    monkeypatch.setattr(Plan, "execute", lambda plan, position=0: plans.append(plan))
    monkeypatch.setattr(Plan, "outcome", lambda plan: "not started")

    def plan(line: str) -> list[Plan]:
        plans.clear()
        outcome = cli(*shlex.split(line)[1:])
        assert outcome.status == 0, outcome.err
        return list(plans)

    return plan


@pytest.fixture
def added(toys, tmp_path) -> Path:
    """The files that README.md adds, in a folder on `$BBO_BENCH_PLUGINS`."""
    root = tmp_path / "added"
    for name, text in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).parent.joinpath("__init__.py").touch()
        (root / name).write_text(text)
    toys(root)
    return root


def play(plan: Plan) -> None:
    """Make a run with a tiny budget, and with the settings that its optimizer declares for quick checks."""
    optimizer = plan.config["optimizer"]
    for key, value in find("optimizer", optimizer["name"]).quick.items():
        optimizer[key] = {**optimizer[key], **value} if isinstance(value, dict) else value
    plan.config["budget"] = TINY
    execute(plan)


def rows(section: str) -> list[list[str]]:
    """The names in the first column of a section's table, for every row."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [re.findall(r"`(\S+?)`", line.split("|")[1]) for line in lines[2:]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_images_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [target.partition("#")[0] for target in targets if not target.startswith(("http", "#"))]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("kind", ["task", "optimizer"])
def test_the_tables_list_every_plugin_once(kind, monkeypatch):
    monkeypatch.delenv("BBO_BENCH_PLUGINS", raising=False)
    ours = {name for name, choice in choices(kind).items() if ROOT / f"{kind}s" in choice.file.parents}
    patterns = [name for row in rows(f"{kind.capitalize()}s") for name in row]
    matches = {pattern: {name for name in ours if fnmatch(name, pattern)} for pattern in patterns}
    assert all(matches.values()), "a row names no plugin"
    assert sorted(name for found in matches.values() for name in found) == sorted(ours)


def test_the_page_on_budgets_says_of_every_method_what_it_has():
    page = (ROOT / "optimizers/README.md").read_text()
    methods = [name for name, choice in choices("optimizer").items() if name == choice.file.parent.name]
    assert [name for name in methods if f"`{name}`" not in page and name != "prior_sampling"] == []


def test_the_table_of_metrics_is_that_of_the_report():
    assert [name for row in rows("How to read the metrics") for name in row] == METRICS


def test_commands_are_of_kinds_that_are_tested_here():
    assert {line.split()[0] for line in COMMANDS} == {"bbo-bench", "make", "python"}
    ours = {line.split()[1] for line in COMMANDS if line.startswith("bbo-bench")}
    assert ours == {"run", "report", "compare", "show"}


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("python ")], ids=lambda line: line[:40])
def test_modules_that_are_run_exist(line):
    _, option, module, *_ = line.split()
    assert option == "-m"
    assert find_spec(module)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make ")], ids=lambda line: line[:10])
def test_the_targets_of_make_exist(line):
    command = [*shlex.split(line, comments=True), "--dry-run"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("line", [line for line in RUNS if not LARGE.search(line)])
def test_a_run_is_planned_as_it_is_written(planned, line):
    assert plans_as_written(planned, line)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in RUNS if LARGE.search(line)])
def test_a_large_sweep_is_planned_as_it_is_written(planned, line):
    assert plans_as_written(planned, line)


def plans_as_written(planned, line):
    for option, module in LAUNCHERS.items():
        if option in line and find_spec(f"hydra_plugins.{module}") is None:
            pytest.skip(f"{module} is not installed")
    return planned(line)


def test_the_commands_work_one_after_the_other(planned, cli):
    for line in WALK:
        if line in RUNS:
            play(planned(line)[0])
            continue
        words = line.split()[1:]
        if words[0] == "compare":  # a run with quick settings is named by them
            words[-1] = load_results("results/default")["optimizer"][0]
        status, out, err = cli(*words)
        assert status == 0, err
        assert {"report": "kl_weight=0.1", "compare": "kl_weight=0.1", "show": "kl_weight:"}[words[0]] in out


def test_the_added_optimizer_conforms(added):
    [command] = re.findall(r"`bbo-bench (check optimizer=\w+)`", README)
    program = f"from bbo_bench.cli import main; raise SystemExit(main({command.split()!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("elite", [10, 1])
def test_the_added_optimizer_runs_on_the_added_task(added, planned, elite):
    [plan] = planned(f"bbo-bench run task=airfoil_cruise optimizer=cross_entropy optimizer.elite={elite}")
    play(plan)
    assert (plan.folder / "metrics.csv").read_text().count("\n") == 1 + len(TINY["rounds"])


def test_the_added_task_states_what_is_measured(added):
    task = instantiate(find("task", "airfoil_cruise").settings)
    prior = task.prior()
    samples = prior.decode(prior.sample(2000, generator(0, "y_prior")))
    real = task.training_data()
    assert task.y_prior == pytest.approx(float(task.evaluate(samples).mean()), abs=0.03)
    assert task.best_known == pytest.approx(float(task.evaluate(real)[task.valid(real)].max()), abs=1e-3)


def test_designs_of_ones_own_are_scored(capsys):
    [block] = SCORED
    exec(block, {})
    assert "tensor([True, True])" in capsys.readouterr().out


def test_runs_are_read_as_a_table(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    [block] = READ
    exec(dedent(block), {})
    out = capsys.readouterr().out
    assert "sequential" in out and " 5.0 " in out  # seeds
