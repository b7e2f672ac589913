"""Processes that are killed: the same command ends with the bytes of an undisturbed one."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from bbo_bench.testing import Probe
from bbo_bench.testing.probe import made, play

ROUNDS = (16, 16, 16)
OPTIMIZER = "genetic"
CHANGES = 18
"""Renames and removals in a run of three rounds, at least."""
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["bbo_bench.testing", "bbo_bench.optimizers.genetic"])
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")


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
