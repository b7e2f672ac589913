"""What `bbo-bench status` says of runs, and a sweep of its time."""

import json
import signal
import subprocess
import sys
import time

import pytest

from bbo_bench.record import Record
from bbo_bench.status import duration

SWEEP = ("run", "-m", "task=toy", "budget.rounds=[4,4]", "budget.evaluation=8", "budget.validation=0", "device=cpu")


def test_every_state(cli, tmp_path):
    assert cli(*SWEEP, "optimizer=toy_search", "seed=0,1").status == 0
    assert cli(*SWEEP, "optimizer=toy_faulty", "optimizer.fault=raise").status == 1
    folder = tmp_path / "results/default/toy"
    for each in (folder / "toy_search").glob("seed_*/provenance.json"):
        facts = json.loads(each.read_text())
        each.write_text(json.dumps({**facts, "seconds": [{"total": 60.0}, {"total": 120.0}]}))
    planned = [folder / f"toy_search/seed_{i}" for i in range(6)] + [tmp_path / "elsewhere/toy/toy_search/seed_0"]
    (tmp_path / "results/.sweep_now").mkdir()
    (tmp_path / "results/.sweep_now/planned.txt").write_text("\n".join(map(str, planned)))
    stopped, running = folder / "toy_search/seed_2", folder / "toy_search/seed_3"
    plugins = {"task": {"name": "toy"}, "optimizer": {"name": "toy_search"}}
    config = {**plugins, "budget": {"rounds": [4, 4]}, "seed": 2}
    with Record(stopped, config):
        pass
    with Record(running, config):
        lines = cli("status", "results/default").out.splitlines()
    assert lines[0] == "7 runs: 2 complete, 1 running, 1 failed, 1 stopped, 2 to come"
    assert lines[1].startswith(
        "running  results/default/toy/toy_search/seed_3: 0 of 2 rounds, at most 3 min left (proc"
    )
    assert lines[2] == "failed   results/default/toy/toy_faulty/seed_0: ZeroDivisionError: division by zero"
    assert lines[3].startswith("stopped  results/default/toy/toy_search/seed_2: 0 of 2 rounds; the same command")
    assert lines[4] == "about 12 min left, one after the other, by the times of those that are complete"
    assert cli("status", "results/default/toy/toy_search/seed_0").out.strip() == "1 runs: 1 complete"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("provenance.json", "{", "its provenance.json cannot be read"),
        ("provenance.json", "[]", "its provenance.json cannot be read"),
        ("metrics.csv", None, "its metrics.csv is missing"),
    ],
)
def test_a_damaged_run_has_failed(cli, tmp_path, name, text, reason):
    assert cli(*SWEEP, "optimizer=toy_search", "seed=0").status == 0
    file = tmp_path / "results/default/toy/toy_search/seed_0" / name
    file.write_text(text) if text else file.unlink()
    lines = cli("status", "results").out.splitlines()
    assert lines == ["1 runs: 1 failed", f"failed   results/default/toy/toy_search/seed_0: {reason}"]


def test_an_interrupted_sweep_keeps_its_plan_until_the_runs_are_made(cli, tmp_path):
    words = [sys.executable, "-m", "bbo_bench", *SWEEP, "optimizer=toy_search", "seed=0,1,2"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(tmp_path.rglob("ledger.csv")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert cli("status", "results").out.startswith("3 runs: ")
    assert cli(*SWEEP, "optimizer=toy_search", "seed=0,1,2").status == 0
    assert cli("status", "results").out.startswith("3 runs: 3 complete")
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"default"}


def test_there_is_nothing_to_say_of_nothing(cli, tmp_path):
    assert f"error: no runs, made or planned, in {tmp_path}; " in cli("status", str(tmp_path)).err


def test_a_sweep_says_what_it_will_take(cli, tmp_path):
    first = cli(*SWEEP, "optimizer=toy_search", "seed=0,1")
    assert first.err.splitlines()[0] == "2 runs; no earlier ones to estimate their time by"
    for each in (tmp_path / "results").rglob("provenance.json"):
        facts = json.loads(each.read_text())
        each.write_text(json.dumps({**facts, "peak_mb": 1234.0, "seconds": [{"total": 600.0}, {"total": 1200.0}]}))
    second = cli(*SWEEP, "optimizer=toy_search,toy_search_wide", "seed=0,1,2")
    expected = "6 runs, 2 of them complete; about 2 h 00 min in 1 process, up to 1.2 GB each, by earlier runs"
    assert second.err.splitlines()[0] == expected


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (7100, "118 min"), (7260, "2 h 01 min")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize("text", ["[]", "task: 1", "budget: {rounds: 3}", "{", "a: !!python/name:os.system"])
def test_a_folder_that_is_no_runs_is_named_not_a_crash(cli, tmp_path, text):
    folder = tmp_path / "results/default/toy/toy_search/seed_0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    lines = cli("status", "results").out.splitlines()
    assert lines[0] == "1 runs: 1 failed"
    assert lines[1].endswith("seed_0: its config.yaml is not that of a run")
