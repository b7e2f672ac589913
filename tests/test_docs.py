"""The site: every block of code on a page is executed, in its order; every page is reached."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bbo_bench import load_task, run
from bbo_bench.seeding import generator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^( *)```(\w+)(?: title=\"(\S+)\")?\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
GENERATED = {"tasks/index.md", "optimizers/index.md", "results.md", "contributing.md", "changes.md"}


def script(page: Path) -> str:
    """A page's blocks as one shell script, which stops at the first failure; blocks with a title are files."""
    lines = ["set -eo pipefail"]
    for indent, language, title, body in BLOCK.findall(page.read_text()):
        text = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        if title:
            lines.append(f"mkdir -p $(dirname {title}) && cat > {title} <<'END'\n{text}\nEND")
        elif language == "sh":
            lines.append(text)
        elif language == "python":
            lines.append(f"python - <<'END'\n{text}\nEND")
        else:
            assert language == "text", f"{page}: a block of {language} is neither run nor written to a file"
    return "\n".join(lines)


QUICK = {"designs", "library", "watch", "comparison"}
"""Pages and notebooks that take seconds, not minutes."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page.stem in QUICK else pytest.mark.slow, id=page.stem)
        for page in PAGES
        if "```" in page.read_text()
    ],
)
def test_what_a_page_shows_works(page, tmp_path):
    done = executed(["bash", "-c", script(page)], tmp_path)
    assert done.returncode == 0, said(done)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "notebook",
    [
        pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.slow, id=path.stem)
        for path in sorted((ROOT / "examples").glob("*/*.py"))
    ],
)
def test_notebooks_run_from_top_to_bottom(notebook, tmp_path):
    done = executed([sys.executable, str(notebook)], tmp_path)
    assert done.returncode == 0, said(done)
    assert list(tmp_path.glob("*.png"))


def executed(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    environment.pop("BBO_BENCH_PLUGINS", None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr[-2000:] + done.stdout[-1000:]


@pytest.fixture
def added(toys, tmp_path) -> Path:
    """The plugins that a page adds, in a folder on `$BBO_BENCH_PLUGINS`."""
    for _, _, title, body in BLOCK.findall((DOCS / "tutorials/own_optimizer.md").read_text()):
        if title:
            (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / title).parent.joinpath("__init__.py").touch()
            (tmp_path / title).write_text(body)
    toys(tmp_path / "plugins")
    return tmp_path


@pytest.mark.parametrize("elite", [10, 1])
def test_the_added_optimizer_runs_on_the_added_task(added, elite):
    rows = run(
        "airfoil_cruise",
        "cross_entropy",
        folder=added / "run",
        budget=[8, 8],
        evaluation=8,
        validation=0,
        elite=elite,
    )
    assert len(rows) == 2


def test_the_added_task_states_what_is_measured(added):
    task = load_task("airfoil_cruise")
    prior = task.prior()
    samples = prior.decode(prior.sample(2000, generator(0, "y_prior")))
    real = task.training_data()
    assert task.y_prior == pytest.approx(float(task.evaluate(samples).mean()), abs=0.03)
    assert task.best_known == pytest.approx(float(task.evaluate(real)[task.valid(real)].max()), abs=1e-3)


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    named = set(re.findall(r": (\S+\.md)$", text, re.MULTILINE))
    written = {page.relative_to(DOCS).as_posix() for page in PAGES}
    assert named == written | GENERATED
    assert yaml.safe_load(text)["strict"], "a link that leads nowhere is an error"
