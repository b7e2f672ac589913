"""Processes that are killed, and sweeps of them: the same command ends with the bytes of an undisturbed one."""

import json
import multiprocessing
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

from bbo_bench.testing import Probe
from bbo_bench.testing.probe import contents, made, play

ROUNDS = (16, 16, 16)
OPTIMIZER = "genetic"
CHANGES = 18
"""Renames and removals in a run of three rounds, at least."""
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["bbo_bench.testing", "bbo_bench.optimizers.genetic"])
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
PLUGINS = Path(__file__).parents[1] / "plugins"
SWEEP = ("run", "-m", "task=toy", "optimizer=toy_search,genetic", "seed=0,1,2", "budget.rounds=[8,8,8]")
SWEEP += ("budget.evaluation=8", "budget.validation=0", "device=cpu")
SWEEP += ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return play(tmp_path_factory.mktemp("whole"), made("optimizer", OPTIMIZER), Probe(), ROUNDS)


def dying(folder: Path, number: int, late: bool) -> None:
    """A run whose process is killed before or after the change of its folder that has this number."""
    count = 0

    def counted(function):
        def call(path, *args, **kwargs):
            nonlocal count
            count += path.parent == folder and path.name != ".lease.part"
            if count == number and not late:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(path, *args, **kwargs)
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in ("replace", "unlink"):
        setattr(Path, name, counted(getattr(Path, name)))
    play(folder, made("optimizer", OPTIMIZER), Probe(), ROUNDS)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, CHANGES + 1))
def test_killed_at_a_change_of_its_folder(whole, tmp_path, number, late):
    process = CONTEXT.Process(target=dying, args=(tmp_path / "run", number, late))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert play(tmp_path / "run", made("optimizer", OPTIMIZER), Probe(), ROUNDS) == whole


def slow(folder: Path) -> None:
    """A run that takes some time."""

    class Slow(Probe):
        def evaluate(self, x):
            time.sleep(0.2)
            return super().evaluate(x)

    play(folder, made("optimizer", OPTIMIZER), Slow(), ROUNDS)


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("moment", range(8))
def test_a_signal_at_random(whole, tmp_path, name, moment):
    folder = tmp_path / "run"
    for _ in range(2):
        process = CONTEXT.Process(target=slow, args=(folder,))
        process.start()
        while process.is_alive() and not (folder / "config.yaml").exists():
            time.sleep(0.01)
        time.sleep(random.Random(f"{name} {moment}").uniform(0, 1))
        if process.is_alive():
            os.kill(process.pid, getattr(signal, name))
        process.join(60)
        assert not process.is_alive()
    assert play(folder, made("optimizer", OPTIMIZER), Probe(), ROUNDS) == whole


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
@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize("victim", ["parent", "worker", "group"])
@pytest.mark.parametrize("name", SIGNALS)
def test_a_sweep_is_hit(swept, tmp_path, name, victim, moment):
    process = command(tmp_path)
    begun = 1 + 2 * moment
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
    process.communicate(timeout=240)
    stop(tmp_path)
    again = command(tmp_path)
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors.decode()
    assert relative(files(tmp_path)) == relative(swept)


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


def crowd(folder: Path, whole: dict[str, bytes], queue) -> None:
    """One of many that want the same run."""
    from bbo_bench.record import RecordError

    for _ in range(200):
        try:
            queue.put(play(folder, made("optimizer", OPTIMIZER), Probe(), ROUNDS) == whole)
            return
        except RecordError as error:
            assert "in use by another process" in str(error)
            time.sleep(0.1)
    queue.put(False)


def test_eight_processes_on_one_folder(whole, tmp_path):
    queue = CONTEXT.Queue()
    processes = [CONTEXT.Process(target=crowd, args=(tmp_path / "run", whole, queue)) for _ in range(8)]
    for each in processes:
        each.start()
    assert [queue.get(timeout=120) for _ in processes] == [True] * 8
    for each in processes:
        each.join()


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
