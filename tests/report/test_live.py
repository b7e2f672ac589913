"""The page of runs that are under way."""

from __future__ import annotations

import base64
import re

import pytest

from bbo_bench.report import live
from bbo_bench.report.live import so_far, watch, write_live
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import Fragile, Killed, made, play

ROUNDS = (8, 8)


def begun(root, seed, record=Fragile):
    config = {
        "task": {"name": "probe", "_target_": "bbo_bench.testing.probe.Probe"},
        "optimizer": {"name": "genetic", "_target_": "bbo_bench.optimizers.genetic.Genetic"},
        "budget": {"rounds": list(ROUNDS), "evaluation": 8, "validation": 0},
        "seed": seed,
    }
    folder = root / f"probe/genetic/seed_{seed}"
    arguments = {"seed": seed, "config": config, **({"record": record} if record else {})}
    return play(folder, made("optimizer", "genetic"), Probe(), ROUNDS, **arguments)


def test_what_is_committed_is_drawn_before_any_run_is_complete(tmp_path):
    with pytest.raises(Killed):
        begun(tmp_path, 0)
    assert so_far([tmp_path])[["task", "optimizer", "queries"]].values.tolist() == [["probe", "genetic", 8]]
    page = write_live([tmp_path])
    text = page.read_text()
    assert page == tmp_path / "report/report.html"
    assert "1 runs: 1 stopped" in text and 'http-equiv="refresh"' in text
    [picture] = re.findall(r"base64,([^\"]+)", text)
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert not re.findall(r"(?:src|href)=.http", text), "it loads nothing"


def test_metrics_that_cannot_be_read_are_named_and_the_others_drawn(tmp_path):
    for seed in (0, 1):
        with pytest.raises(Killed):
            begun(tmp_path, seed)
    damaged = tmp_path / "probe/genetic/seed_0/metrics.csv"
    damaged.write_bytes(b"\xff\xfe")
    with pytest.warns(RuntimeWarning, match=re.escape(f"{damaged} cannot be read, and is not drawn")):
        assert so_far([tmp_path])["run"].tolist() == [str(tmp_path / "probe/genetic/seed_1")]


def test_it_is_renewed_with_every_round_until_the_report_takes_its_place(tmp_path, monkeypatch, capsys, unpainted):
    with pytest.raises(Killed):
        begun(tmp_path, 0)
    monkeypatch.setattr("bbo_bench.status.alive", lambda folder: object())
    written, naps = [], iter(["nothing", "round", "end"])
    monkeypatch.setattr(live, "write_live", lambda *arguments: written.append(arguments) or tmp_path)

    def sleep(seconds):
        if next(naps) == "round":
            begun(tmp_path, 0, record=None)
            monkeypatch.setattr("bbo_bench.status.alive", lambda folder: None)

    monkeypatch.setattr(live.time, "sleep", sleep)
    assert watch([tmp_path]) == tmp_path / "report/report.md"
    assert 'http-equiv="refresh"' not in (tmp_path / "report/report.html").read_text()
    assert len(written) == 1, "not where nothing has come"
