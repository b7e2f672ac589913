"""Disks that are full, or cannot be written: the error says so, and nothing committed is lost."""

import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress

import pytest

from bbo_bench.record import RecordError
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import Fragile, Killed, made, play

ROUNDS = (16, 16, 16)
GENETIC = made("optimizer", "genetic")
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["bbo_bench.testing", "bbo_bench.optimizers.genetic"])
WRITES = 17
"""Files that are written in a run of three rounds, at least."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return play(tmp_path_factory.mktemp("whole"), GENETIC, Probe(), ROUNDS)


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_a_disk_that_is_full_at_a_write(whole, tmp_path, monkeypatch, write):
    count, fsync = 0, os.fsync

    def full(descriptor):
        nonlocal count
        count += 1
        if count == 2 * write - 1:  # each write syncs its file, and then the folder
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device; the rounds committed before are safe"):
            play(tmp_path / "run", GENETIC, Probe(), ROUNDS)
    assert not list((tmp_path / "run").glob("*.part"))
    assert play(tmp_path / "run", GENETIC, Probe(), ROUNDS) == whole


def limited(folder, size, queue):
    """A run whose files may not be larger."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        play(folder, GENETIC, Probe(), ROUNDS)
        queue.put("")
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("size", [0, 10, 40, 100, 200, 400, 800, 1200, 1600, 2000, 2400, 3000, 4000, 6000, 10_000])
def test_files_that_cannot_grow(whole, tmp_path, size):
    queue = CONTEXT.Queue()
    process = CONTEXT.Process(target=limited, args=(tmp_path / "run", size, queue))
    process.start()
    said = queue.get(timeout=100)
    process.join()
    assert said == "" or "File too large" in said or "Errno 27" in said
    assert play(tmp_path / "run", GENETIC, Probe(), ROUNDS) == whole


@contextmanager
def mounted(folder, options):
    """A file system in memory, where this user may mount one."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(not shutil.which("mount"), reason="there is no mount")
@pytest.mark.parametrize("pages", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_small_disk(whole, tmp_path, pages):
    with mounted(tmp_path / "disk", f"size={4096 * pages}"):
        with suppress(OSError, RecordError):
            play(tmp_path / "disk/run", GENETIC, Probe(), ROUNDS)
        subprocess.run(["mount", "-o", "remount,size=1m", str(tmp_path / "disk")], check=True)
        assert play(tmp_path / "disk/run", GENETIC, Probe(), ROUNDS) == whole


@pytest.mark.skipif(not shutil.which("mount"), reason="there is no mount")
@pytest.mark.parametrize("state", ["empty", "begun", "complete"])
def test_a_disk_that_is_read_only(whole, tmp_path, state):
    with mounted(tmp_path / "disk", "size=1m"):
        folder = tmp_path / "disk/run"
        if state == "begun":
            with suppress(Killed):
                play(folder, GENETIC, Probe(), ROUNDS, record=Fragile)
        if state == "complete":
            play(folder, GENETIC, Probe(), ROUNDS)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        with pytest.raises(RecordError, match=r"run cannot be written .*choose another results="):
            play(folder, GENETIC, Probe(), ROUNDS)
        subprocess.run(["mount", "-o", "remount,rw", str(tmp_path / "disk")], check=True)
        assert play(folder, GENETIC, Probe(), ROUNDS) == whole
