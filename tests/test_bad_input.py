"""What can go wrong with a run's folder: an error that says so before work starts, and nothing lost."""

import errno
import json
import math
import multiprocessing
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml

from bbo_bench.loop import Budget, run
from bbo_bench.oracle import TaskError
from bbo_bench.record import Record, RecordError
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import Fragile, Killed, made, play

ROUNDS = (8, 8, 8)
GENETIC = made("optimizer", "genetic")


@pytest.fixture
def whole(tmp_path):
    return play(tmp_path / "whole", GENETIC, Probe(), ROUNDS)


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that was killed after its first round."""
    folder = tmp_path / "begun"
    with suppress(Killed):
        play(folder, GENETIC, Probe(), ROUNDS, record=Fragile)
    return folder


def resumed(folder):
    return play(folder, GENETIC, Probe(), ROUNDS)


def test_another_configuration_is_refused_not_mixed(begun, whole):
    message = "begun holds a run of another configuration (seed: 0 there, 1 now); choose another name="
    with pytest.raises(RecordError, match=re.escape(message)):
        play(begun, GENETIC, Probe(), ROUNDS, seed=1)
    with pytest.raises(RecordError, match=re.escape("(rounds: [8, 8, 8] there, [8, 8] now)")):
        play(begun, GENETIC, Probe(), (8, 8))
    assert resumed(begun) == whole


FILES = ("config.yaml", "ledger.csv", "metrics.csv", "designs.npz", "recommended.npz", "state.pt")


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(begun, name):
    content = (begun / name).read_bytes()
    (begun / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(RecordError, match=rf"{re.escape(name)}|another configuration"):
        resumed(begun)


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file_is_named(begun, name):
    (begun / name).write_bytes(b"")
    with pytest.raises(RecordError, match=rf"{re.escape(name)}.*move the folder away"):
        resumed(begun)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_flipped_bit_is_noticed(begun, name):
    content = bytearray((begun / name).read_bytes())
    content[int(0.6 * len(content))] ^= 4
    (begun / name).write_bytes(content)
    with pytest.raises(RecordError, match=rf"{re.escape(name)}.*move the folder away"):
        resumed(begun)


@pytest.mark.parametrize("name", FILES[1:5])
def test_a_missing_file_is_named(begun, name):
    (begun / name).unlink()
    with pytest.raises(RecordError, match=rf"{re.escape(name)}.*move the folder away"):
        resumed(begun)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"complete": true}'])
def test_provenance_that_is_not_ours_is_named(begun, text):
    (begun / "provenance.json").write_text(text)
    with pytest.raises(RecordError, match=r"provenance\.json cannot be read .*move the folder away"):
        resumed(begun)


@pytest.mark.parametrize("name", FILES[1:5])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_complete_run_that_was_damaged_is_not_taken_for_sound(tmp_path, whole, name, damage):
    file = tmp_path / "whole" / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(RecordError, match=re.escape(name)):
        resumed(tmp_path / "whole")


def test_a_folder_that_cannot_be_made_is_named_before_work_starts(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=r"file/run cannot be written .*choose another results="):
        resumed(tmp_path / "file" / "run")


def test_a_read_only_folder_is_named_before_work_starts(begun, whole, monkeypatch):
    opened = os.open

    def refused(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR) and begun in Path(path).parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return opened(path, flags, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        with pytest.raises(RecordError, match=r"begun cannot be written .*Read-only file system"):
            resumed(begun)
    assert resumed(begun) == whole


@pytest.mark.parametrize("write", range(8, 14))
def test_a_full_disk_costs_one_round(tmp_path, whole, monkeypatch, write):
    folder, count, fsync = tmp_path / "full", 0, os.fsync

    def full(descriptor):
        nonlocal count
        count += not stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if count >= write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device; the rounds committed before are safe") as caught:
            resumed(folder)
        assert Path(caught.value.filename).parent == folder
    assert not list(folder.glob(".*.part"))
    with Record(folder, {"rounds": list(ROUNDS), "seed": 0}) as record:
        assert record.rounds == 1 + (write == 13)
    assert resumed(folder) == whole


def test_a_second_process_is_refused(begun, whole):
    with Record(begun, {"rounds": list(ROUNDS), "seed": 0}):
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool, pytest.raises(RecordError, match="begun is in use by another process; wait"):
            pool.apply(play, (begun, GENETIC, Probe(), ROUNDS))
    assert resumed(begun) == whole


class Stalls(Probe):
    """Stops working in its second round."""

    def __init__(self, outcome):
        self.outcome, self.calls = outcome, 0

    def evaluate(self, x):
        self.calls += 1
        if self.calls < 2:
            return super().evaluate(x)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return torch.full((len(x),), self.outcome)


@pytest.mark.parametrize("outcome", [math.nan, math.inf, ValueError("no convergence")])
def test_an_oracle_that_fails_costs_its_round_alone(outcome, tmp_path):
    expected = play(tmp_path / "whole", GENETIC, Probe(), ROUNDS, evaluation=0)
    named = "no convergence.*first of them" if isinstance(outcome, Exception) else f"{outcome} for design 0"
    with pytest.raises(TaskError, match=rf"Stalls\.evaluate .*{named}.*\[-?\d"):
        play(tmp_path / "run", GENETIC, Stalls(outcome), ROUNDS, evaluation=0)
    assert len((tmp_path / "run/ledger.csv").read_text().splitlines()) == 1 + ROUNDS[0]
    assert play(tmp_path / "run", GENETIC, Probe(), ROUNDS, evaluation=0) == expected


def test_an_optimizer_that_raises_costs_its_round_alone(tmp_path, whole):
    def failing(problem, rng):
        optimizer, tells = GENETIC(problem, rng), []
        tell = optimizer.tell

        def fails(x, y):
            tells.append(1)
            if len(tells) == 2:
                raise FloatingPointError("the loss is NaN")
            tell(x, y)

        optimizer.tell = fails
        return optimizer

    with pytest.raises(FloatingPointError, match="the loss is NaN"):
        play(tmp_path / "run", failing, Probe(), ROUNDS)
    assert json.loads((tmp_path / "run/provenance.json").read_text())["complete"] is False
    assert resumed(tmp_path / "run") == whole


def test_ctrl_c_leaves_a_folder_that_goes_on(tmp_path, whole):
    class Interrupted(Probe):
        def valid(self, x):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Record(tmp_path / "run", {"rounds": list(ROUNDS), "seed": 0}) as record:
        run(Interrupted(), GENETIC, budget=Budget(ROUNDS, 8, 0), seed=0, device=torch.device("cpu"), record=record)
    assert resumed(tmp_path / "run") == whole


def test_an_attempt_that_came_to_nothing_binds_nobody(tmp_path):
    with Record(tmp_path / "run", {"kl_weight": -1}) as record:
        record.fail(ValueError("kl_weight must be at least 0"))
    with Record(tmp_path / "run", {"kl_weight": 1}) as record:
        assert not record.complete
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text()) == {"kl_weight": 1}
    assert not (tmp_path / "run/error.txt").exists()
