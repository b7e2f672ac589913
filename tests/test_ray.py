"""A cluster of Ray's: a worker that dies costs nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bbo_bench.testing.probe import contents

pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="Ray's launcher is not installed")
PLUGINS = Path(__file__).parent / "plugins"
SWEEP = ("run", "-m", "task=toy", "optimizer=toy_search,genetic", "seed=0,1,2,3,4,5", "budget.rounds=[8,8]")
SWEEP += ("budget.evaluation=8", "budget.validation=0", "device=cpu")


def command(folder: Path, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "BBO_BENCH_PLUGINS": str(PLUGINS), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    words = [sys.executable, "-m", "bbo_bench", *SWEEP, *more]
    return subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def files(folder: Path) -> dict[str, dict[str, bytes]]:
    found = sorted(folder.rglob("config.yaml"))
    return {"/".join(each.parts[-4:-1]): contents(each.parent) for each in found}


def at_work(process: psutil.Process) -> bool:
    """Whether it has a run's folder open; what has ended by now has not."""
    try:
        return any(file.path.endswith(".lock") for file in process.open_files())
    except psutil.NoSuchProcess:
        return False


def test_a_worker_that_is_killed_costs_nothing(tmp_path):
    (tmp_path / "serial").mkdir()
    (tmp_path / "ray").mkdir()
    process = command(tmp_path / "ray", "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2")
    while process.poll() is None and len(list((tmp_path / "ray").rglob("recommended.npz"))) < 4:
        time.sleep(0.1)
    victims = []
    while process.poll() is None and not victims:
        victims = [each for each in psutil.Process(process.pid).children(recursive=True) if at_work(each)]
        time.sleep(0.01)
    if victims:
        victims[0].kill()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert victims
    serial = command(tmp_path / "serial")
    serial.communicate(timeout=240)
    assert len(files(tmp_path / "serial")) == 12
    assert files(tmp_path / "ray") == files(tmp_path / "serial")
