"""A wheel made from the tracked files works from another folder, with every plugin, prior and file of data."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from itertools import chain
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bbo_bench

ROOT = Path(__file__).parents[1]
SHIPPED = (".py", ".yaml", ".md", ".npz", ".safetensors", ".typed")


def call(*command: str | Path, **options) -> str:
    return subprocess.run(
        [str(each) for each in command], check=True, text=True, stdout=subprocess.PIPE, **options
    ).stdout


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("the tracked files are known to git alone, and this is no git checkout")
    return [path for path in map(Path, call("git", "ls-files", cwd=ROOT).splitlines()) if (ROOT / path).exists()]


def build(source: Path, out: Path) -> Path:
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    call(sys.executable, "-m", "pip", "wheel", *options, "-w", out, source)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tracked, tmp_path_factory) -> Path:
    export = tmp_path_factory.mktemp("export")
    for path in tracked:
        (export / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, export / path)
    return build(export, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel and a plugin's distribution; only third-party packages come from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    libraries = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (libraries / "third_party.pth").write_text(sysconfig.get_path("purelib"))
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "tests/distribution", source, dirs_exist_ok=True)
    plugin = build(source, tmp_path_factory.mktemp("plugin"))
    for each in (wheel, plugin):
        options = ["--no-deps", "--no-index", "--quiet", "--ignore-installed", "--disable-pip-version-check"]
        call(sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", *options, each)
    return folder


def test_the_wheel_holds_every_tracked_file_of_the_package(wheel, tracked):
    inside = set(ZipFile(wheel).namelist())
    folders = {"bbo_bench": "bbo_bench", "tasks": "bbo_bench/tasks", "optimizers": "bbo_bench/optimizers"}
    wanted = [path for path in tracked if path.parts[0] in folders and path.suffix in SHIPPED]
    missing = {str(Path(folders[path.parts[0]], *path.parts[1:])) for path in wanted} - inside
    assert wanted and not missing
    assert {name.split("/")[0] for name in inside} == {"bbo_bench", f"bbo_bench-{bbo_bench.__version__}.dist-info"}


def test_the_wheel_runs_from_another_folder_with_all_plugins(environment, tracked, tmp_path):
    command = environment / "bin/bbo-bench"
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "BBO_BENCH_PLUGINS")}
    variables |= {"TQDM_DISABLE": "1"}
    listed = call(command, "list", cwd=tmp_path, env=variables)
    names = {line.split()[0] for line in listed.splitlines() if line.startswith("  ")}
    folders = {path.parent for path in tracked if path.parts[0] in ("tasks", "optimizers") and path.suffix == ".yaml"}
    choices = {file.stem for folder in folders for file in (ROOT / folder).glob("*.yaml")} - {"prior"}
    assert names == choices | {"maze"}
    tiny = ("budget.rounds=[4,4]", "budget.evaluation=8", "budget.validation=0")
    call(command, "run", "task=airfoil", "optimizer=maze", *tiny, cwd=tmp_path, env=variables)
    assert (tmp_path / "results/default/airfoil/maze/seed_0/metrics.csv").read_text().count("\n") == 3


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def test_every_direct_dependency_is_pinned_within_its_declared_range():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(Requirement(line).name): line.partition("==")[2] for line in lines}
    wanted = [Requirement(line) for line in [*PROJECT["dependencies"], *chain(*EXTRAS.values())]]
    wanted = [each for each in wanted if each.name != PROJECT["name"]]
    outside = [str(each) for each in wanted if pins.get(canonicalize_name(each.name)) not in each.specifier]
    assert len(wanted) > 40 and not outside


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_constraints_hold_with_every_extra(tmp_path):
    """Asks the index; nothing is installed."""
    every = f"{ROOT}[{','.join(EXTRAS)}]"
    options = ["--dry-run", "--ignore-installed", "--quiet", "--report", tmp_path / "report.json"]
    call(sys.executable, "-m", "pip", "install", *options, "-c", ROOT / "constraints.txt", "-e", every)
    chosen = json.loads((tmp_path / "report.json").read_text())["install"]
    names = {canonicalize_name(each["metadata"]["name"]) for each in chosen}
    pins = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert "hydra-ray-launcher" in names
    assert names - pins == {"bbo-bench"}, "what is not pinned"
