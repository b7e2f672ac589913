"""Two machines and one folder. What another machine writes is written here in its name."""

import json
import os
import threading
import time

import pytest

from bbo_bench import lease
from bbo_bench.lease import Lease, LeaseLost, alive, holder
from bbo_bench.record import Record, RecordError
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import made, play

CONFIG = {"seed": 0}


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(lease, "INTERVAL", 0.1)
    monkeypatch.setattr(lease, "EXPIRY", 1.0)


def elsewhere(folder, host="node7"):
    folder.mkdir(exist_ok=True)
    (folder / lease.NAME).write_text(json.dumps([host, 4711, 0.0]))
    return folder / lease.NAME


def test_a_lease_lives_while_its_folder_is_open(tmp_path):
    with Record(tmp_path / "run", CONFIG):
        file = tmp_path / "run" / lease.NAME
        assert alive(tmp_path / "run").pid == os.getpid()
        before = file.stat().st_mtime_ns
        time.sleep(0.5)
        assert file.stat().st_mtime_ns > before
    assert alive(tmp_path / "run") is None
    assert not file.exists()


def test_a_folder_that_another_machine_works_on_is_refused(tmp_path):
    file, done = elsewhere(tmp_path / "run"), threading.Event()

    def beat():
        while not done.wait(0.1):
            os.utime(file)

    other = threading.Thread(target=beat)
    other.start()
    try:
        with pytest.raises(RecordError, match="run is in use by process 4711 of node7; wait"):
            Record(tmp_path / "run", CONFIG).__enter__()
    finally:
        done.set()
        other.join()
    assert holder(tmp_path / "run").host == "node7"


def test_a_machine_that_is_silent_has_lost_its_folder(tmp_path):
    elsewhere(tmp_path / "run")
    start = time.monotonic()
    with Record(tmp_path / "run", CONFIG):
        assert time.monotonic() - start > 1
        assert holder(tmp_path / "run").pid == os.getpid()


def test_who_has_lost_a_folder_writes_nothing_more(tmp_path):
    class Overtaken(Probe):
        def evaluate(self, x):
            elsewhere(tmp_path / "run")
            return super().evaluate(x)

    with pytest.raises(LeaseLost, match="run has been taken over by process 4711 of node7"):
        play(tmp_path / "run", made("optimizer", "prior_sampling"), Overtaken(), (8, 8))
    assert not (tmp_path / "run/ledger.csv").exists()
    assert holder(tmp_path / "run").host == "node7"


def test_what_is_no_lease_is_none(tmp_path):
    for text in ("", "{}", "[1]", "null", "\x00"):
        (tmp_path / lease.NAME).write_text(text)
        assert holder(tmp_path) is None and alive(tmp_path) is None
        mine = Lease(tmp_path)
        mine.take()
        mine.check()
        mine.release()
