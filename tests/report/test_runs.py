"""Which runs a report takes, and what it says about the others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bbo_bench.report.runs import ReportError, designs, find_runs, table

Make = Callable[..., Path]
SCORES = {"reward_mean": [1.0, 1.1, 1.2, 1.3]}


def test_runs_are_found_from_any_folder_above(make: Make, results: Path) -> None:
    folders = [make("sqdf", seed, SCORES) for seed in (1, 0)]
    for start in (results, results / "exp", results / "exp" / "toy", folders[1].parent):
        assert [run.seed for run in find_runs([start]).complete] == [0, 1]
    assert [run.folder for run in find_runs(folders).complete] == folders[::-1]
    rows = table(find_runs([results]).complete)
    assert rows.groupby("seed")["reward_mean"].max().to_dict() == {0: 1.3, 1: 1.3}


def test_other_runs_are_left_out_with_the_reason(make: Make, results: Path) -> None:
    good = make("sqdf", 0, SCORES)
    stopped = make("sqdf", 1, SCORES, complete=False)
    failed = make("sqdf", 2, SCORES)
    (failed / "error.txt").write_text("Traceback\n  somewhere\nOptimizerError: designs must be finite\n")
    damaged = make("sqdf", 3, SCORES)
    (damaged / "metrics.csv").write_text("round\n0\n")
    begun = make("sqdf", 4, SCORES)
    (begun / "provenance.json").unlink()
    runs = find_runs([results])
    assert [run.folder for run in runs.complete] == [good]
    assert list(runs.left_out) == [stopped, failed, damaged, begun]
    reasons = list(runs.left_out.values())
    assert reasons[0] == "incomplete: 4 rounds are committed"
    assert reasons[1] == "failed: OptimizerError: designs must be finite"
    assert "metrics.csv is not as it was written" in reasons[2]
    assert reasons[3] == "incomplete: no round is committed"


def test_runs_whose_designs_were_not_published_count(make: Make, results: Path) -> None:
    (make("sqdf", 0, SCORES) / "designs.npz").unlink()
    (run,) = find_runs([results]).complete
    assert designs(run) is None


def test_nothing_to_report_is_an_error(make: Make, results: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match=r"no run folder .*empty; start one"):
        find_runs([tmp_path / "empty"])
    make("sqdf", 0, SCORES, complete=False)
    with pytest.raises(ReportError, match=r"(?s)no complete run .*seed_0: incomplete: 4 rounds"):
        find_runs([results])


def test_one_name_with_two_settings_is_told_apart_by_the_experiment(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, settings={"kl_weight": 0.1}, experiment="weak")
    make("sqdf", 0, SCORES, settings={"kl_weight": 1.0}, experiment="strong")
    make("ddpo", 0, SCORES, experiment="weak")
    make("ddpo", 1, SCORES, experiment="strong")
    labels = [(run.optimizer, run.seed) for run in find_runs([results]).complete]
    assert labels == [("ddpo", 0), ("ddpo", 1), ("sqdf (strong)", 0), ("sqdf (weak)", 0)]


def test_the_only_settings_of_the_first_folder_keep_the_plain_name(make: Make, results: Path) -> None:
    for experiment, weight in (("weak", 0.1), ("middle", 0.3), ("strong", 1.0)):
        make("sqdf", 0, SCORES, settings={"kl_weight": weight}, experiment=experiment)
    for first in ("weak", "strong"):
        labels = {run.optimizer for run in find_runs([results / first, results]).complete}
        assert labels == {"sqdf", *(f"sqdf ({name})" for name in ("weak", "middle", "strong") if name != first)}


def test_a_run_that_two_experiments_share_counts_once(make: Make, results: Path) -> None:
    first, second = (make("sqdf", 0, SCORES, experiment=name) for name in ("a", "b"))
    runs = find_runs([results])
    assert [run.folder for run in runs.complete] == [first]
    assert list(runs.left_out) == [second]
    assert runs.left_out[second].startswith("the same run as ")


def test_shared_runs_beside_other_settings_are_one_optimizer(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, settings={"kl_weight": 1.0}, experiment="careful")
    for experiment, seed in (("compared", 0), ("compared", 1), ("smoke", 0)):
        make("sqdf", seed, SCORES, settings={"kl_weight": 0.1}, experiment=experiment)
    labels = [(run.optimizer, run.seed) for run in find_runs([results]).complete]
    assert labels == [("sqdf (careful)", 0), ("sqdf (compared)", 0), ("sqdf (compared)", 1)]
    make("sqdf", 2, SCORES, settings={"kl_weight": 0.1}, experiment="smoke")
    assert {run.optimizer for run in find_runs([results]).complete} == {"sqdf (careful)", "sqdf (compared, smoke)"}


def test_settings_that_their_experiments_do_not_tell_apart_are_refused(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, settings={"kl_weight": 0.1})
    make("sqdf", 1, SCORES, settings={"kl_weight": 1.0})
    with pytest.raises(ReportError, match=r"toy: sqdf \(exp\) has 2 settings"):
        find_runs([results])


def test_two_outcomes_of_one_run_are_refused(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, experiment="a")
    make("sqdf", 0, {"reward_mean": 0.0}, experiment="b")
    with pytest.raises(ReportError, match="are both toy, sqdf, seed 0, and differ"):
        find_runs([results])


def test_budgets_are_not_mixed(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES)
    make("ddpo", 0, {"reward_mean": [1.0, 2.0]}, rounds=(32, 64))
    with pytest.raises(ReportError, match=r"has the budget \(32, 64\), .* has \(64, 128, 256, 512\)"):
        find_runs([results])
