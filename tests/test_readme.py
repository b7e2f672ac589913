"""What README.md and the pages below it show is true: links, tables of plugins and metrics, commands, examples."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import pytest

from bbo_bench.launch import Sweep
from bbo_bench.names import METRICS
from bbo_bench.plan import Plan
from bbo_bench.plugins import choices

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FOLDERS = ("tasks", "optimizers", "results", "docs")
PAGES = [*ROOT.glob("*.md"), *(page for top in FOLDERS for page in ROOT.glob(f"{top}/**/*.md"))]
TEXTS = [README, (ROOT / "results/README.md").read_text()]
COMMANDS = [
    line for text in TEXTS for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
]
RUNS = [line for line in COMMANDS if line.startswith("bbo-bench run ")]
SCORED = re.findall(
    r"```python\n(from bbo_bench import load_task.*?)```", (ROOT / "tasks/README.md").read_text(), re.DOTALL
)
LARGE = re.compile(r"\+experiment=(?!control_passes)")
"""Presets of which each run takes part of a second to compose."""


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


def rows(page: str) -> list[list[str]]:
    """The names in the first column of a page's table, for every row."""
    lines = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("|")]
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
    patterns = [name for row in rows(f"{kind}s/README.md") for name in row]
    matches = {pattern: {name for name in ours if fnmatch(name, pattern)} for pattern in patterns}
    assert all(matches.values()), "a row names no plugin"
    assert sorted(name for found in matches.values() for name in found) == sorted(ours)


def test_the_page_on_budgets_says_of_every_method_what_it_has():
    page = (ROOT / "docs/budgets.md").read_text()
    methods = [name for name, choice in choices("optimizer").items() if name == choice.file.parent.name]
    assert [name for name in methods if f"`{name}`" not in page and name != "prior_sampling"] == []


def test_the_table_of_metrics_is_that_of_the_report():
    assert [name for row in rows("docs/metrics.md") for name in row] == METRICS


def test_commands_are_of_kinds_that_are_tested_here():
    assert {line.split()[0] for line in COMMANDS} == {"bbo-bench", "make", "python", "BBO_BENCH_PLUGINS=$PWD/plugins"}
    ours = {line.split()[1] for line in COMMANDS if line.startswith("bbo-bench")}
    assert ours == {"run", "report", "compare", "new", "ask"}  # the site's pages execute all


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
    assert planned(line)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in RUNS if LARGE.search(line)])
def test_a_large_sweep_is_planned_as_it_is_written(planned, line):
    assert planned(line)


def test_designs_of_ones_own_are_scored(capsys):
    [block] = SCORED
    exec(block, {})
    assert "tensor([True, True])" in capsys.readouterr().out
