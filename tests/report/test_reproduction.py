"""Verdicts on a reproduction: identical, within tolerance, different from a round on, or missing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bbo_bench.cli import main
from bbo_bench.report import ReportError, reproduction
from bbo_bench.report.runs import find_runs

Make = Callable[..., Path]
SCORES = {"reward_mean": [1.0, 1.1, 1.2, 1.3]}


@pytest.fixture
def pair(make: Make, results: Path) -> tuple[Path, Path]:
    for seed in range(3):
        make("sqdf", seed, SCORES)
    return results / "exp", Path(shutil.copytree(results / "exp", results / "anew"))


def change(folder: Path, seed: int, column: str, rounds: slice, factor: float) -> None:
    path = folder / "toy" / "sqdf" / f"seed_{seed}" / "metrics.csv"
    rows = pd.read_csv(path)
    rows.loc[rounds, column] *= factor
    rows.to_csv(path, index=False)


def test_verdicts(pair: tuple[Path, Path]) -> None:
    one, other = pair
    change(other, 1, "reward_mean", slice(1, 1), 1 + 4e-15)
    change(other, 2, "reward_mean", slice(2, 3), 1 + 1e-6)
    change(other, 2, "pairwise_reference", slice(3, 3), 2)
    (other / "toy" / "sqdf" / "seed_2" / "designs.npz").unlink()
    text, same = reproduction(one, other)
    assert not same
    assert text.splitlines()[0] == "toy/sqdf/seed_0: metrics.csv, designs.npz: identical bytes"
    assert "same within tolerance, a relative difference of 4.0e-15 in reward_mean, round 1" in text
    assert "differs from round 2 on, a relative difference of 1.0e-06 in reward_mean, round 2" in text
    assert "of all rounds, a relative difference of 5.0e-01 in pairwise_reference, round 3" in text
    assert "designs.npz: missing in " in text
    assert text.splitlines()[-1].startswith("differs: 1, identical bytes: 3, missing: 1, same within tolerance: 1 ")
    assert reproduction(one, other, rtol=1)[1]


def test_designs_are_compared_by_round(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "toy" / "sqdf" / "seed_0" / "designs.npz"
    with np.load(path) as arrays:
        np.savez(path, queried_0=arrays["queried_0"], recommended_3=arrays["recommended_3"][:-1])
    text, same = reproduction(*pair)
    assert not same
    assert "designs.npz: differs from round 3 on, other values or shapes in recommended, round 3" in text


def test_nan_equals_nan_and_nothing_else(pair: tuple[Path, Path]) -> None:
    change(pair[1], 0, "validity", slice(0, 0), 1.0)  # NaN in both
    assert reproduction(*pair)[1]
    change(pair[1], 0, "reward_mean", slice(3, 3), np.nan)
    assert "differs from round 3 on, other values or shapes in reward_mean" in reproduction(*pair)[0]


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[" * 3000, b"task: 1", b"!!python/name:os.system {}", b"PK\x03\x04"]
)
@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "designs.npz"])
def test_a_damaged_file_is_named_and_not_the_same(pair: tuple[Path, Path], name: str, content: bytes) -> None:
    damaged = pair[1] / "toy" / "sqdf" / "seed_0" / name
    damaged.write_bytes(content)
    text, same = reproduction(*pair)
    assert not same
    assert f"toy/sqdf/seed_0: {name}: unreadable: {damaged}" in text
    assert "toy/sqdf/seed_1: metrics.csv, designs.npz: identical bytes" in text


@pytest.mark.parametrize("arguments", [["report"], ["compare", "--against=sqdf"], ["compare", "--reproduction"]])
def test_a_folder_that_does_not_exist(
    pair: tuple[Path, Path], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, str(pair[0]), str(pair[1] / "absent")]) == 1
    assert f"there is no folder {pair[1] / 'absent'}" in capsys.readouterr().err


def test_the_command_and_the_reports_error_that_points_to_it(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = pair
    folders = [str(other), str(one)]
    assert main(["compare", "--reproduction", *folders]) == 0
    assert "identical bytes: 6" in capsys.readouterr().out
    change(other, 0, "reward_mean", slice(3, 3), 1.001)
    assert main(["compare", "--reproduction", *folders]) == 1
    assert main(["compare", "--reproduction", *folders, "--rtol", "0.01"]) == 0
    assert main(["compare", "--reproduction", folders[0]]) == 1
    assert "compares 2 folders" in capsys.readouterr().err
    for seed in range(3):  # a complete run whose digest fits its metrics, as a rerun's does
        folder = other / "toy" / "sqdf" / f"seed_{seed}"
        text = (folder / "provenance.json").read_text()
        (folder / "provenance.json").write_text(text.replace("metrics.csv", "elsewhere.csv"))
    with pytest.raises(ReportError, match=r"bbo-bench compare --reproduction \S+anew \S+exp"):
        find_runs([other, one])


def test_nothing_in_common(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match=r"no run in common: .*exp has toy/sqdf/seed_0, .*, \.\.\., .*has no run"):
        reproduction(pair[0], tmp_path / "empty")
