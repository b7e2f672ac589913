"""Which runs a report takes, and what it says about the others."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bbo_bench.report.frame import frame
from bbo_bench.report.runs import ReportError, designs, find_runs

Make = Callable[..., Path]
SCORES = {"reward_mean": [1.0, 1.1, 1.2, 1.3]}


def test_runs_are_found_from_any_folder_above(make: Make, results: Path) -> None:
    folders = [make("sqdf", seed, SCORES) for seed in (1, 0)]
    for start in (results, results / "exp", results / "exp" / "toy", folders[1].parent):
        assert [run.seed for run in find_runs([start]).complete] == [0, 1]
    assert [run.folder for run in find_runs(folders).complete] == folders[::-1]
    rows = frame(find_runs([results]).complete)
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


@pytest.mark.parametrize("word", ["abc", "inf", "-inf"])
def test_a_metric_that_is_no_finite_number_leaves_its_run_out(make: Make, results: Path, word: str) -> None:
    good, bad = make("sqdf", 0, SCORES), make("sqdf", 1, SCORES)
    text = (bad / "metrics.csv").read_text().replace("1.3", word)
    (bad / "metrics.csv").write_text(text)
    facts = json.loads((bad / "provenance.json").read_text())
    facts["files"]["metrics.csv"] = hashlib.sha256(text.encode()).hexdigest()
    (bad / "provenance.json").write_text(json.dumps(facts))
    runs = find_runs([results])
    assert [run.folder for run in runs.complete] == [good]
    assert runs.left_out == {bad: "metrics.csv has no finite numbers under reward_mean"}


@pytest.mark.parametrize(
    ("old", "new"), [("3,960,", "3,inf,"), ("3,960,", "4,960,"), ("3,960,", "3,961,"), ("round,", "lap,")]
)
def test_rounds_that_are_not_its_budgets_leave_a_run_out(make: Make, results: Path, old: str, new: str) -> None:
    make("sqdf", 0, SCORES)
    bad = make("sqdf", 1, SCORES)
    text = (bad / "metrics.csv").read_text()
    assert old in text
    text = text.replace(old, new)
    (bad / "metrics.csv").write_text(text)
    facts = json.loads((bad / "provenance.json").read_text())
    facts["files"]["metrics.csv"] = hashlib.sha256(text.encode()).hexdigest()
    (bad / "provenance.json").write_text(json.dumps(facts))
    assert list(find_runs([results]).left_out) == [bad]


@pytest.mark.parametrize("seconds", [[{"total": "x"}] * 4, [], "none", [{"total": 1.0}] * 3])
def test_seconds_that_are_none_leave_a_run_out(make: Make, results: Path, seconds: object) -> None:
    make("sqdf", 0, SCORES)
    bad = make("sqdf", 1, SCORES)
    facts = json.loads((bad / "provenance.json").read_text())
    (bad / "provenance.json").write_text(json.dumps({**facts, "seconds": seconds}))
    assert list(find_runs([results]).left_out) == [bad]


def test_a_run_in_the_folder_of_another_seed_is_left_out(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES)
    other = make("sqdf", 1, SCORES)
    other.rename(other.with_name("seed_2"))
    assert find_runs([results]).left_out == {other.with_name("seed_2"): "its config.yaml says seed=1"}


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


def test_one_name_with_two_settings_is_two_rows_that_say_them(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, settings={"kl_weight": 0.01}, experiment="weak")
    make("sqdf", 0, SCORES, settings={"kl_weight": 1.0}, experiment="strong")
    make("ddpo", 0, SCORES, experiment="weak")
    make("ddpo", 1, SCORES, experiment="strong")
    labels = [(run.optimizer, run.seed) for run in find_runs([results]).complete]
    assert labels == [("ddpo", 0), ("ddpo", 1), ("sqdf (kl_weight=0.01)", 0), ("sqdf (kl_weight=1)", 0)]


def test_a_label_is_the_same_beside_other_runs(make: Make, results: Path) -> None:
    for experiment, weight in (("weak", 0.01), ("strong", 1.0)):
        make("sqdf", 0, SCORES, settings={"kl_weight": weight}, experiment=experiment)
    alone = [run.optimizer for name in ("strong", "weak") for run in find_runs([results / name]).complete]
    assert sorted(alone) == [run.optimizer for run in find_runs([results]).complete]


def test_black_boxes_are_never_pooled(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, task="hartmann_6", of_task={"function": "hartmann", "dim": 6})
    make("sqdf", 1, SCORES, task="hartmann_6", of_task={"function": "ackley", "dim": 20}, experiment="other")
    labels = [(run.task, run.seed) for run in find_runs([results]).complete]
    assert labels == [("hartmann_6", 0), ("hartmann_6 (dim=20, function=ackley)", 1)]


def test_designs_lie_in_two_files_or_one(make: Make, results: Path) -> None:
    folder = make("sqdf", 0, SCORES)
    np.savez(folder / "recommended.npz", recommended_0=np.ones(3))
    (run,) = find_runs([results]).complete
    found = designs(run)
    assert found is not None
    assert sorted(found) == ["queried_0", "recommended_0", "recommended_3"]
    np.testing.assert_array_equal(found["recommended_0"], np.ones(3))


def test_a_run_that_two_experiments_share_counts_once(make: Make, results: Path) -> None:
    first, second = (make("sqdf", 0, SCORES, experiment=name) for name in ("a", "b"))
    runs = find_runs([results])
    assert [run.folder for run in runs.complete] == [first]
    assert list(runs.left_out) == [second]
    assert runs.left_out[second].startswith("the same run as ")


def test_shared_runs_beside_other_settings_are_one_optimizer(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, settings={"kl_weight": 1.0}, experiment="careful")
    for experiment, seed in (("compared", 0), ("compared", 1), ("smoke", 0)):
        make("sqdf", seed, SCORES, settings={"kl_weight": 0.01}, experiment=experiment)
    labels = [(run.optimizer, run.seed) for run in find_runs([results]).complete]
    assert labels == [("sqdf (kl_weight=0.01)", 0), ("sqdf (kl_weight=0.01)", 1), ("sqdf (kl_weight=1)", 0)]


def test_two_outcomes_of_one_run_are_refused(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, experiment="a")
    make("sqdf", 0, {"reward_mean": 0.0}, experiment="b")
    with pytest.raises(ReportError, match="are both toy, sqdf, seed 0, and differ"):
        find_runs([results])


def test_budgets_are_not_mixed(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES)
    make("ddpo", 0, {"reward_mean": [1.0, 2.0]}, rounds=(32, 64))
    with pytest.raises(ReportError, match=r"has budget.rounds=\[32,64\], .* has budget.rounds=\[64,128,256,512\]"):
        find_runs([results])


def test_sizes_of_an_evaluation_are_not_mixed(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES)
    make("sqdf", 1, SCORES, evaluation=32)
    with pytest.raises(ReportError, match=r"seed_0 has budget.evaluation=64, .*seed_1 has budget.evaluation=32"):
        find_runs([results])


def test_numbers_are_compared_by_their_values(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, settings={"kl_weight": 1, "steps": [1, 2.0]})
    make("sqdf", 1, SCORES, settings={"kl_weight": 1.0, "steps": [1.0, 2]}, experiment="other")
    assert len({run.optimizer for run in find_runs([results]).complete}) == 1


def test_a_task_by_another_name_is_the_same_one(make: Make, results: Path) -> None:
    make("sqdf", 0, SCORES, task="third", of_task={"of": "third"})
    make("sqdf", 1, SCORES, task="the_third", of_task={"of": "third"})
    make("sqdf", 1, SCORES, task="fourth", of_task={"of": "fourth"})
    assert [(run.task, run.seed) for run in find_runs([results]).complete] == [
        ("fourth", 1),
        ("third", 0),
        ("third", 1),
    ]


def test_one_run_under_two_names_of_its_task_counts_once(make: Make, results: Path) -> None:
    for task in ("third", "the_third"):
        make("sqdf", 0, SCORES, task=task, of_task={"of": "third"})
    [run] = find_runs([results]).complete
    assert run.seed == 0
    make("sqdf", 1, SCORES, task="third", of_task={"of": "third"})
    make("sqdf", 1, {"reward_mean": 0.0}, task="the_third", of_task={"of": "third"})
    with pytest.raises(ReportError, match=r"the_third/sqdf/seed_1 and .*/third/sqdf/seed_1 are both .*third, sqdf"):
        find_runs([results])
