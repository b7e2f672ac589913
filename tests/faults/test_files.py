"""Damage to a file of a run is named, or harmless: never taken for a result."""

import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from bbo_bench.record import RecordError
from bbo_bench.report import ReportError, load_results
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import Fragile, Killed, contents, made, play

ROUNDS = (8, 8, 8)
GENETIC = made("optimizer", "genetic")
FILES = ("config.yaml", "ledger.csv", "metrics.csv", "designs.npz", "recommended.npz", "provenance.json")


def flipped(at):
    def damage(file, other):
        content = bytearray(file.read_bytes())
        content[int(at * (len(content) - 1))] ^= 1
        file.write_bytes(content)

    return damage


def shortened(file, other):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


DAMAGES = {
    "first byte flipped": flipped(0),
    "a byte flipped": flipped(0.37),
    "last byte flipped": flipped(1),
    "truncated": shortened,
    "emptied": lambda file, other: file.write_bytes(b""),
    "deleted": lambda file, other: file.unlink(),
    "of another run": lambda file, other: shutil.copy(other, file),
    "lengthened": lambda file, other: file.write_bytes(file.read_bytes() + b"0"),
    "a folder": lambda file, other: (file.unlink(), file.mkdir()),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of two runs, each whole, and killed after its first round."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        play(root / f"whole/seed_{seed}", GENETIC, Probe(), ROUNDS, seed=seed)
        with suppress(Killed):
            play(root / f"begun/seed_{seed}", GENETIC, Probe(), ROUNDS, seed=seed, record=Fragile)
    return root


def damaged(runs: Path, state: str, name: str, damage: str, folder: Path) -> Path:
    shutil.copytree(runs / state / "seed_0", folder)
    DAMAGES[damage](folder / name, runs / state / "seed_1" / name)
    return folder


def survives(runs: Path, folder: Path, name: str) -> bool:
    """The same command ends with the bytes of the undisturbed run, or names the file."""
    words = rf"{re.escape(name)}|another configuration|belong to|is damaged|not as it was written"
    try:
        found = play(folder, GENETIC, Probe(), ROUNDS)
    except RecordError as error:
        return re.search(words, str(error)) is not None
    except OSError as error:
        return name in str(error)
    return found == contents(runs / "whole/seed_0")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*FILES, "state.pt"])
def test_damage_to_a_half_done_run(runs, tmp_path, name, damage):
    assert survives(runs, damaged(runs, "begun", name, damage, tmp_path / "run"), name)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damage_to_a_complete_run(runs, tmp_path, name, damage):
    assert survives(runs, damaged(runs, "whole", name, damage, tmp_path / "run"), name)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Folders of two complete runs of the command line's, which reports can read."""
    root = tmp_path_factory.mktemp("reported")
    config = {
        "task": {"name": "probe", "_target_": "bbo_bench.testing.probe.Probe"},
        "optimizer": {"name": "genetic", "_target_": "bbo_bench.optimizers.genetic.Genetic"},
        "budget": {"rounds": list(ROUNDS), "evaluation": 8, "validation": 0},
    }
    for seed in (0, 1):
        play(root / f"probe/genetic/seed_{seed}", GENETIC, Probe(), ROUNDS, seed=seed, config={**config, "seed": seed})
    return root


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damage_to_what_is_reported(reported, tmp_path, name, damage):
    """The run is left out, or its numbers are what they were."""
    shutil.copytree(reported, tmp_path / "results")
    DAMAGES[damage](tmp_path / "results/probe/genetic/seed_0" / name, reported / "probe/genetic/seed_1" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        try:
            found = load_results(tmp_path / "results")
        except ReportError as error:
            assert name in str(error) or "seed" in str(error)
            return
    expected = load_results(reported)
    sound = found["score"].tolist()
    assert sound in ([*expected[expected["seed"] == 1]["score"]], [*expected["score"]])
