"""A run that was killed, wherever and however often, ends with the bytes of one that was not."""

import functools
import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

from bbo_bench.record import Record
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import Killed, contents, made, play, play_plugin, representatives, suited

ROUNDS = (16, 16, 16)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["bbo_bench.testing", "peft", "botorch", "gpytorch", "cma", "bbo_bench.alignment.finetune"]
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Undisturbed runs: their bytes, and the seconds that they take once they have begun."""

    @functools.cache
    def run(name):
        folder = tmp_path_factory.mktemp(name)
        process = started(folder, name)
        start = time.perf_counter()
        process.join()
        assert process.exitcode == 0
        return contents(folder), time.perf_counter() - start

    return run


def started(folder, name):
    """A process in which a run has begun."""
    process = CONTEXT.Process(target=play_plugin, args=(folder, name, {}, ROUNDS))
    process.start()
    while process.is_alive() and not (folder / "config.yaml").exists():
        time.sleep(0.01)
    return process


@pytest.mark.every_plugin("sqdf", "ddpo", "d3po", "svdd", "cma_es", "genetic", "turbo", "idql")
@pytest.mark.parametrize("name", representatives("optimizer"))
def test_killed_at_random_moments(name, whole, tmp_path):
    expected, seconds = whole(name)
    for _ in range(2):
        process = started(tmp_path, name)
        process.join(timeout=random.uniform(0, seconds))
        process.kill()
        process.join()
    build = made("optimizer", name)
    assert play(tmp_path, build, suited(build, ROUNDS), ROUNDS) == expected
    assert not (tmp_path / "state.pt").exists()


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Counts the calls that rename or remove a run's files; dies before or after the one of a given number."""

    class Calls:
        count, fatal, late = 0, -1, False

    def counted(function):
        def call(path, *args, **kwargs):
            if tmp_path not in path.parents:
                return function(path, *args, **kwargs)
            Calls.count += 1
            if Calls.count == Calls.fatal and not Calls.late:
                raise Killed
            result = function(path, *args, **kwargs)
            if Calls.count == Calls.fatal:
                raise Killed
            return result

        return call

    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    return Calls


def test_killed_around_every_change_of_the_folder(calls, tmp_path):
    build = made("optimizer", "genetic")
    expected = play(tmp_path / "whole", build, Probe(), ROUNDS)
    total = calls.count
    assert total >= 1 + 5 * len(ROUNDS)
    for fatal in range(1, total + 1):
        for late in (False, True):
            folder = tmp_path / f"{fatal}_{late}"
            calls.count, calls.fatal, calls.late = 0, fatal, late
            with pytest.raises(Killed):
                play(folder, build, Probe(), ROUNDS)
            calls.fatal = -1
            assert play(folder, build, Probe(), ROUNDS) == expected, f"after call {fatal} of {total}, late={late}"


def test_killed_in_the_middle_of_a_write(monkeypatch, tmp_path):
    build = made("optimizer", "prior_sampling")
    expected = play(tmp_path / "whole", build, Probe(), ROUNDS)
    fsync, count = os.fsync, 0

    def cut(descriptor):
        nonlocal count
        count += 1
        if count == 9:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            raise Killed
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(Killed):
        play(tmp_path / "cut", build, Probe(), ROUNDS)
    assert list((tmp_path / "cut").glob(".*.part"))
    assert play(tmp_path / "cut", build, Probe(), ROUNDS) == expected


def test_committed_rounds_are_not_done_again(tmp_path):
    rounds, asked = [], []
    build = made("optimizer", "genetic")

    class Once(Record):
        def commit(self, entry, state, provenance, *, last):
            super().commit(entry, state, provenance, last=last)
            rounds.append(entry.metrics["round"])
            if len(rounds) == 2:
                raise Killed

    class Counting(Probe):
        def evaluate(self, x):
            asked.append(len(x))
            return super().evaluate(x)

    with pytest.raises(Killed):
        play(tmp_path, build, Counting(), ROUNDS, evaluation=0, record=Once)
    play(tmp_path, build, Counting(), ROUNDS, evaluation=0, record=Once)
    assert rounds == [0, 1, 2]
    assert asked == list(ROUNDS)


def test_a_complete_run_is_left_alone(tmp_path):
    build = made("optimizer", "prior_sampling")
    play(tmp_path, build, Probe(), ROUNDS)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir() if file.name != ".lock"}
    play(tmp_path, build, Probe(), ROUNDS)
    assert before == {file: file.stat().st_mtime_ns for file in tmp_path.iterdir() if file.name != ".lock"}
