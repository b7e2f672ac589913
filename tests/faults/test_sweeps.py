"""Sweeps that are hit, doubled or read while they go on: the same command ends with an undisturbed one's bytes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bbo_bench.testing.probe import contents

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
PLUGINS = Path(__file__).parents[1] / "plugins"
SWEEP = ("run", "-m", "task=toy", "optimizer=toy_search,genetic", "seed=0,1,2", "budget.rounds=[8,8,8]")
SWEEP += ("budget.evaluation=8", "budget.validation=0", "device=cpu")
SWEEP += ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """An undisturbed sweep's files."""
    folder = tmp_path_factory.mktemp("swept")
    command(folder).wait()
    return files(folder)


def command(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "BBO_BENCH_PLUGINS": str(PLUGINS), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    program = "from bbo_bench.cli import main; raise SystemExit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", program, *SWEEP],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def files(folder: Path) -> dict[str, dict[str, bytes]]:
    return {str(each.parent): contents(each.parent) for each in sorted(folder.rglob("config.yaml"))}


def relative(found: dict[str, dict[str, bytes]]) -> dict[str, dict[str, bytes]]:
    return {"/".join(Path(key).parts[-3:]): value for key, value in found.items()}


@pytest.mark.costly
@pytest.mark.parametrize("victim", ["parent", "worker", "group"])
@pytest.mark.parametrize("name", SIGNALS)
def test_a_sweep_is_hit(swept, tmp_path, name, victim):
    process = command(tmp_path)
    begun = random.Random(f"{name} {victim}").randint(1, 6)
    while process.poll() is None and len(list(tmp_path.rglob("config.yaml"))) < begun:
        time.sleep(0.02)
    if process.poll() is None:
        number = getattr(signal, name)
        if victim == "group":
            os.killpg(process.pid, number)
        elif victim == "parent":
            process.send_signal(number)
        elif workers := working(process.pid):
            workers[0].send_signal(number)
    process.wait(240)  # its workers may live on, and keep the pipe open
    stop(tmp_path)
    again = command(tmp_path)
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors.decode()
    assert relative(files(tmp_path)) == relative(swept)
    assert not list(tmp_path.glob("results/.sweep_*/planned.txt"))


def working(pid: int) -> list[psutil.Process]:
    """joblib's workers that have a run's folder open."""
    found = psutil.Process(pid).children(recursive=True)
    return [each for each in found if any(file.path.endswith(".lock") for file in each.open_files())]


def stop(folder: Path) -> None:
    """End what a dead parent has left behind; workers end by themselves when they notice."""
    for each in psutil.process_iter(["cwd", "cmdline"]):
        if each.info["cwd"] == str(folder):
            each.kill()
            each.wait(10)


@pytest.mark.costly
def test_two_sweeps_at_once(swept, tmp_path):
    """Each makes what the other does not; where both want one folder, one is told so, and the rest goes on."""
    both = [command(tmp_path), command(tmp_path)]
    for each in both:
        _, errors = each.communicate(timeout=240)
        assert each.returncode == 0 or b"is in use by another process" in errors, errors.decode()
    last = command(tmp_path)
    last.communicate(timeout=240)
    assert last.returncode == 0
    assert relative(files(tmp_path)) == relative(swept)
    shutil.rmtree(tmp_path / "results")


@pytest.mark.costly
def test_a_report_during_runs(tmp_path):
    """Says what is complete by now, or that nothing is; reads no half a file."""
    from bbo_bench.report import ReportError, load_results

    process = command(tmp_path)
    counts = []
    while process.poll() is None:
        try:
            counts.append(len(load_results(tmp_path)))
        except ReportError as error:
            assert "no run folder" in str(error) or "no complete run" in str(error)
        time.sleep(0.05)
    process.communicate()
    assert counts == sorted(counts)
    assert len(load_results(tmp_path)) == 6 * 3
    json.loads(next(tmp_path.rglob("provenance.json")).read_text())
