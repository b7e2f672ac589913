"""Comparisons by hand: pairs, Holm's correction, verdicts in words, and what is said of runs that do not pair."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bbo_bench.cli import main
from bbo_bench.report import ReportError, write_comparison
from bbo_bench.report.hierarchy import over
from bbo_bench.report.paired import ALL, compare, holm, improvement

Make = Callable[..., Path]


def frame(values: dict[tuple[str, str], list[float]], metric: str = "score") -> pd.DataFrame:
    rows = [(task, name, seed, 0, y) for (task, name), ys in values.items() for seed, y in enumerate(ys)]
    return pd.DataFrame(rows, columns=["task", "optimizer", "seed", "round", metric]).dropna()


def test_holm_by_hand() -> None:
    found = holm(np.array([0.01, np.nan, 0.04, 0.03, 0.5]))
    np.testing.assert_allclose(found, [0.04, np.nan, 0.09, 0.09, 0.5])
    assert holm(np.array([0.4, 0.5])).tolist() == [0.8, 0.8]


def test_probability_of_improvement_by_hand() -> None:
    assert improvement(np.array([1.0, 3.0]), np.array([0.0, 1.0, 2.0])) == pytest.approx((1.5 + 3) / 6)


def test_pairs_take_out_what_seeds_have_in_common() -> None:
    """Seeds lie 10 apart, the optimizers 1; without pairs nothing could be told apart."""
    seeds = [0.0, 10, 20, 30, 40]
    noise = [0.1, -0.1, 0.0, 0.05, -0.05]
    better = [y + 1 + e for y, e in zip(seeds, noise, strict=True)]
    found = compare(frame({("t", "a"): seeds, ("t", "b"): better, ("t", "c"): seeds}), "a", "score")
    rows = found.set_index("optimizer")
    assert rows["verdict"].to_dict() == {"b": "better", "c": "not told apart"}
    half = 2.7764451051977934 * np.std(noise, ddof=1) / np.sqrt(5)
    assert rows.loc["b", ["difference", "low", "high"]].tolist() == pytest.approx([1, 1 - half, 1 + half])
    assert rows.loc["b", "p_holm"] == pytest.approx(2 * rows.loc["b", "p"])
    assert rows.loc["c", ["difference", "p", "improvement"]].tolist() == [0, 1, 0.5]
    assert rows.loc["b", "improvement"] == pytest.approx(15 / 25)


def test_lower_is_better_where_it_is() -> None:
    values = {("t", "a"): [1.0, 1.1, 1.2, 1.3, 1.4], ("t", "b"): [2.0, 2.1, 2.2, 2.3, 2.41]}
    (row,) = compare(frame(values, "frechet"), "a", "frechet").to_dict("records")
    assert (row["verdict"], row["improvement"]) == ("worse", 0)


def test_a_failed_seed_counts_in_full() -> None:
    values = {("t", "a"): [0.5] * 5, ("t", "b"): [0.6, 0.61, 0.6, 0.59, -5.0]}
    (row,) = compare(frame(values), "a", "score").to_dict("records")
    assert row["difference"] == pytest.approx(-1.02)
    assert row["verdict"] == "not told apart"


def test_over_tasks_the_tasks_are_what_is_sampled() -> None:
    """A gain on every seed of five tasks, but on one of them a loss as large: no verdict over tasks."""
    gains = {f"t{i}": 0.1 if i else -0.5 for i in range(5)}
    noise = np.array([0.0, 0.001, 0.002, 0.003, 0.004])
    values = {(task, "a"): list(noise * 0) for task in gains} | {
        (task, "b"): list(gain + noise) for task, gain in gains.items()
    }
    found = compare(frame(values), "a", "score").set_index("task")
    assert found["verdict"].to_dict() == {
        "t0": "worse",
        **{f"t{i}": "better" for i in range(1, 5)},
        ALL: "not told apart",
    }
    row = found.loc[ALL]
    assert (row["tasks"], row["seeds"]) == (5, 25)
    assert row["difference"] == pytest.approx(np.mean([*gains.values()]) + noise.mean())
    assert row["improvement"] == pytest.approx(0.8)
    assert row["improvement_low"] < 0.8 < row["improvement_high"] <= 1
    assert ALL not in set(compare(frame(values, "best"), "a", "best")["task"])  # each task's own units


def test_the_bootstrap_draws_tasks_and_seeds() -> None:
    """Of equal tasks only seeds vary, of constant ones only tasks: the variance of a mean of n is s²/n in both."""
    values = np.arange(6.0)
    spread = 2 * 1.96 * values.std() / np.sqrt(36)
    _, low, high = over([values[None]] * 6, lambda x: x.mean((-2, -1)))
    assert high - low == pytest.approx(spread, rel=0.08)
    _, low, high = over([np.full((1, 6), value) for value in values], lambda x: x.mean((-2, -1)))
    assert high - low == pytest.approx(spread * np.sqrt(6), rel=0.08)
    assert np.isnan(over([values[None]] * 4, lambda x: x.mean((-2, -1)))[1])


def write(make: Make, name: str, values: list[float], **where: object) -> None:
    for seed, value in enumerate(values):
        make(name, seed, {"score": [0.0, 0.1, 0.2, value], "reward_mean": 1.0, "best": 1.0}, **where)


def test_files_and_notes(make: Make, results: Path) -> None:
    write(make, "sqdf", [0.5, 0.51, 0.52, 0.53, 0.54])
    write(make, "ddpo_oracle", [0.6, 0.61, 0.62, 0.63, 0.6401, 0.9])
    write(make, "cma_es", [0.5, 0.6])
    text = write_comparison([results], "sqdf", "score")
    lines = [line.split() for line in text.splitlines()]
    assert lines[0][:2] == ["toy:", "score"]
    best = next(line for line in lines if line[:1] == ["ddpo_oracle"])
    assert best[1:3] == ["0.620", "+0.100"] and best[-2:] == ["5", "better"]
    few = next(line for line in text.splitlines() if line.split()[:1] == ["cma_es"])
    assert "+0.045 {0.000, 0.090}" in few and few.endswith("2 not tested")
    assert "toy: ddpo_oracle has the seeds 0, 1, 2, 3, 4, 5, sqdf 0, 1, 2, 3, 4; compared on 0, 1, 2, 3, 4." in text
    assert "fewer than 5 common seeds" in text and "began" not in text and "begin alike" not in text
    table = pd.read_csv(results / "report" / "compare_sqdf_score.csv").set_index("optimizer")
    assert table["verdict"].to_dict() == {"cma_es": "not tested", "ddpo_oracle": "better"}
    latex = (results / "report" / "compare_sqdf_score.tex").read_text()
    assert r"ddpo\_oracle & 0.620 & +0.100 [" in latex and r"\{0.000, 0.090\}" in latex


def test_runs_that_do_not_pair(make: Make, results: Path, tmp_path: Path) -> None:
    make("sqdf", 0, {"score": 1.0, "reward_mean": 1.0, "best": [1.0, 2, 2, 2]})
    make("ddpo", 0, {"score": 2.0, "reward_mean": 1.0, "best": [1.5, 2, 2, 2]})
    make("dpok", 1, {"score": 2.0, "reward_mean": 1.0, "best": [1.5, 2, 2, 2]})
    text = write_comparison([results], "sqdf", out=tmp_path / "out")
    assert "toy: ddpo and sqdf did not begin alike in seeds 0" in text
    assert "toy: dpok has the seeds 1, sqdf 0; not compared." in text
    with pytest.raises(ReportError, match="dpok has no seed in common with another optimizer"):
        write_comparison([results], "dpok", out=tmp_path / "out")
    with pytest.raises(ReportError, match=r"no optimizer in these runs.*sqfd.*did you mean.*sqdf|sqfd.*sqdf"):
        write_comparison([results], "sqfd", out=tmp_path / "out")


def test_runs_from_before_there_was_a_score_say_so(
    make: Make, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("sqdf", 0, {"reward_mean": 1.0, "best": 2.0})
    assert main(["compare", str(results), "--against", "sqdf"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no run has the metric score (it came with later versions: run them again)")
    assert error.strip().endswith("one of: best, reward_mean")
    assert main(["compare", str(results)]) == 1
    assert "compare needs --against" in capsys.readouterr().err


def test_a_model_is_better_where_its_gap_is_smaller() -> None:
    values = {("t", "a"): [0.01, -0.02, 0.01, 0.0, 0.01], ("t", "b"): [-50.0, -51, -49, -50, -52]}
    (row,) = compare(frame(values, "proxy_gap"), "a", "proxy_gap").to_dict("records")
    assert (row["verdict"], row["improvement"]) == ("worse", 0)


def test_of_a_tasks_own_metric_nobody_says_which_is_better() -> None:
    values = {(task, name): [y, y + 0.1, y + 0.2, y, y + 0.1] for task in "tu" for name, y in (("a", 2.0), ("b", 5.3))}
    values["t", "b"][0] += 0.01
    values["u", "b"][0] += 0.01
    found = compare(frame(values, "sa"), "a", "sa")
    assert found["verdict"].tolist() == ["higher", "higher"]  # and none over tasks
    assert ALL in set(compare(frame(values, "validity"), "a", "validity")["task"])
    assert ALL not in set(compare(frame(values, "pairwise"), "a", "pairwise")["task"])


def test_rounding_is_no_difference_and_without_spread_nothing_is_tested() -> None:
    values = {("t", "a"): [0.3] * 5, ("t", "b"): [0.1 + 0.2] * 5, ("t", "c"): [0.31] * 5, ("t", "d"): [0.4, 0.3]}
    rows = compare(frame(values), "a", "score").set_index("optimizer")
    assert rows.loc["b", ["difference", "p", "improvement"]].tolist()[:2] == [0, 1]
    assert rows["verdict"].to_dict() == {"b": "not told apart", "c": "not tested", "d": "not tested"}


def test_runs_that_were_not_made_alike_are_told(make: Make, tmp_path: Path) -> None:
    for seed in range(5):
        make("sqdf", seed, {"score": [0.1, 0.2, 0.3, 0.4 + 0.01 * seed], "reward_mean": [1.0] * 4})
        folder = make(
            "ddpo",
            seed,
            {"score": [0.1, 0.2, 0.3, 0.5], "reward_mean": [1.0] * 4},
            machine={"device": "cuda", "threads": 8},
        )
        facts = (folder / "provenance.json").read_text()
        (folder / "provenance.json").write_text(facts.replace('"torch": "2.6"', '"torch": "2.7"'))
    said = write_comparison([tmp_path / "results"], "sqdf", "score")
    assert "Runs of one task differ in `device` (cpu, cuda) and `threads` (1, 8), which may change" in said
    assert "several versions of `torch` (2.6, 2.7)" in said


def test_every_optimizer_has_files_of_its_own(make: Make, tmp_path: Path) -> None:
    for blend in (0.5, -0.5):
        make(
            "genetic",
            0,
            {"score": [0.1] * 4, "reward_mean": [1.0] * 4},
            settings={"blend": blend},
            experiment=f"{blend}",
        )
    make("sqdf", 0, {"score": [0.2] * 4, "reward_mean": [1.0] * 4})
    found = {
        write_comparison([tmp_path / "results"], name, "score").splitlines()[-1]
        for name in ("genetic (blend=0.5)", "genetic (blend=-0.5)")
    }
    assert len(found) == 2


def test_a_budget_that_was_not_kept_is_said(make: Make, tmp_path: Path) -> None:
    for name, nats in (("sqdf", 9.0), ("dmpo", 30.0)):
        for seed in range(2):
            values = {"score": [0.1] * 4, "diagnostics.kl": [1.0, 1.0, 1.0, nats + seed]}
            make(name, seed, values, settings={"kl_budget": 8.0})
    said = write_comparison([tmp_path / "results"], "dmpo", "score")
    assert "Beyond their KL budget, which is not how far they went: dmpo (3.8 times)." in said
