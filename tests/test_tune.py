"""Tuning: what is searched, that it goes on where it stopped, and that no family decides for itself."""

import json
import os
import re
import sys

import pytest

optuna = pytest.importorskip("optuna")

from bbo_bench import tuning  # noqa: E402
from bbo_bench.cli import main  # noqa: E402
from bbo_bench.plugins import find  # noqa: E402

OPTIMIZER = '''
from bbo_bench.core import Optimizer

class Far(Optimizer):
    """Asks samples of the prior, and recommends them `step` further."""

    def __init__(self, problem, rng, *, step, words="a"):
        super().__init__(problem, rng)
        self.step = step

    def ask(self, n):
        return self.problem.prior.decode(self.problem.prior.sample(n, self.rng))

    def tell(self, x, y): pass

    def state_dict(self): return {}

    def load_state_dict(self, state): pass

    def recommend(self, n):
        return self.problem.domain.clamp(self.ask(n) + self.step)
'''
YAML = """_target_: far_optimizer.Far
step: 0.0
words: a
search:
  step: [uniform, -1.0, 1.0]
  words: [choice, a, b]
"""
TASK = "_target_: bbo_bench.testing.Probe\n"


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (tmp_path / "far_optimizer.py").write_text(OPTIMIZER)
    for kind, name, text in (("optimizers", "far", YAML), ("tasks", "near", TASK), ("tasks", "also_near", TASK)):
        folder = tmp_path / kind / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / f"{name}.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "far_optimizer", raising=False)
    monkeypatch.setenv("BBO_BENCH_PLUGINS", str(tmp_path))
    return tmp_path


ARGUMENTS = ["--tasks", "near,also_near", "--seeds", "7,8", "--rounds", "8,8", "--per-setting", "2"]


def config(path):
    return (path / "config.yaml").read_text()


def tuned(folder, *arguments):
    return main(["tune", "far", "--out", str(folder), *(arguments or ARGUMENTS)])


def test_every_trial_is_run_on_all_families_and_seeds_and_goes_on_where_it_stopped(plugins, tmp_path, capsys):
    out = tmp_path / "out"
    assert tuned(out, *ARGUMENTS[:-1], "1") == 0
    first = tuning.read(out)
    assert {row["trial"] for row in first} == {"0", "1"}, "one for each of two settings"
    assert tuned(out) == 0
    rows = tuning.read(out)
    assert rows[: len(first)] == first and len(rows) == 4 * 2 * 2
    assert len({row["settings"] for row in rows}) == 4
    assert all(-1 <= json.loads(row["settings"])["step"] <= 1 for row in rows)
    assert all(0 < float(row["score"]) <= 1 for row in rows)
    [step] = {json.loads(row["settings"])["step"] for row in rows if row["trial"] == "0"}
    assert sum(f"step: {step}\n" in config(path) for path in (out / "runs").glob("*/near/far/seed_7")) == 1
    assert len(f"{abs(step):.9g}") <= 5, "two digits"
    said = capsys.readouterr().out
    assert "### far" in said and "| `near` |" in said and "hours of one core" in said
    assert main(["tune", "--out", str(out)]) == 0


def test_a_trial_whose_process_is_gone_is_taken_up(plugins, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    study = tuning._study("far", out)
    left = study.ask(tuning.space(find("optimizer", "far")))
    left.set_user_attr("process", 2**22 + 1)
    mine = study.ask(tuning.space(find("optimizer", "far")))
    mine.set_user_attr("process", os.getppid())
    assert tuned(out) == 0
    states = [trial.state.name for trial in tuning._study("far", out).trials]
    assert states == ["FAIL", "RUNNING", "COMPLETE", "COMPLETE", "COMPLETE"], "another process's is its own"
    assert tuning._study("far", out).trials[2].params == left.params


def test_the_best_trials_are_made_anew_at_another_budget(plugins, tmp_path, capsys):
    out, final = tmp_path / "out", tmp_path / "final"
    arguments = [*ARGUMENTS[:4], "--rounds", "8,8,8", "--out", str(final), "--finalists", "2", "--of", str(out)]
    assert main(["tune", "far", *arguments]) == 1
    assert "no finished trial of far: search first" in capsys.readouterr().err
    assert tuned(out) == 0
    for _ in range(2):
        assert main(["tune", "far", *arguments]) == 0
        rows, search = tuning.read(final), tuning.read(out)
        assert len(rows) == 2 * 2 * 2, "trials, tasks, seeds; none is made twice"
    order = tuning.ranked(tuning.scores(search))
    settings = {int(row["trial"]): row["settings"] for row in search}
    assert [row["settings"] for row in rows[::4]] == [settings[trial] for trial in order[:2]]
    configs = [path.read_text() for path in final.glob("runs/*/near/far/seed_7/config.yaml")]
    assert len(configs) == 2 and all("- 8\n  - 8\n  - 8\n" in config for config in configs)


@pytest.mark.parametrize(("option", "value"), [("--tasks", "near"), ("--seeds", "1,2"), ("--rounds", "8,16")])
def test_trials_of_other_conditions_do_not_join(plugins, tmp_path, capsys, option, value):
    out = tmp_path / "out"
    assert tuned(out, *ARGUMENTS[:-1], "1") == 0
    made = (out / "trials.csv").read_bytes()
    assert tuned(out, *ARGUMENTS, option, value) == 1
    assert f"they had {option[2:]} " in capsys.readouterr().err
    assert (out / "trials.csv").read_bytes() == made


def test_one_seed_says_what_it_cannot_show(plugins, tmp_path, capsys):
    assert tuned(tmp_path / "out", *ARGUMENTS, "--seeds", "7") == 0
    assert "needs two seeds" in capsys.readouterr().out


def test_a_fault_of_the_machine_is_no_score(plugins, tmp_path, capsys):
    (plugins / "far_optimizer.py").write_text(
        OPTIMIZER.replace("def tell(self, x, y): pass", 'def tell(self, x, y): raise OSError("no space left")')
    )
    assert tuned(tmp_path / "out", *ARGUMENTS[:-1], "1") == 1
    assert "no space left" in capsys.readouterr().err
    assert not (tmp_path / "out/trials.csv").exists()


def test_a_failing_run_scores_nothing(plugins, tmp_path):
    (plugins / "far_optimizer.py").write_text(OPTIMIZER.replace("def tell(self, x, y): pass", "tell = None"))
    assert tuned(tmp_path / "out", *ARGUMENTS[:-1], "1") == 0
    assert {float(row["score"]) for row in tuning.read(tmp_path / "out")} == {0.0}


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("", "its YAML needs `search`"),
        ("search: {step: [0, 1]}", "expected \\[log, low, high\\].*got \\[0, 1\\]"),
        ("search: {step: [log, 2, 1]}", "got \\['log', 2, 1\\]"),
        ("search: {step: [uniform, 0]}", "got \\['uniform', 0\\]"),
        ("search: {step: 1}", "got 1"),
        ("search: {stride: [uniform, 0, 1]}", "stride"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(plugins, tmp_path, capsys, search, message):
    (plugins / "optimizers/far/far.yaml").write_text(YAML.partition("search")[0] + search + "\n")
    assert tuned(tmp_path / "out") == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_what_is_chosen_for_a_family_has_not_seen_it():
    """Trial 0 is good on a, trial 1 on b and c, trial 2 everywhere second."""
    table = {"a": (0.9, 0.1, 0.6), "b": (0.1, 0.9, 0.5), "c": (0.2, 0.8, 0.7)}
    found = {task: {seed: dict(enumerate(row)) for seed in (7, 8)} for task, row in table.items()}
    assert tuning.best(found) == 1 or tuning.best(found) == 2
    chosen = {each.task: each for each in tuning.leave_one_out(found)}
    assert (chosen["a"].trial, chosen["a"].elsewhere, chosen["a"].here) == (1, pytest.approx(0.1), pytest.approx(0.9))
    assert (chosen["b"].trial, chosen["b"].elsewhere) == (2, pytest.approx(0.5))


def test_what_tuning_here_buys_is_judged_by_a_seed_that_it_has_not_seen():
    """Both trials are alike but for luck: by each seed another is best, and the other seed does not confirm it."""
    found = {task: {7: {0: 1.0, 1: 0.0}, 8: {0: 0.0, 1: 1.0}} for task in ("a", "b")}
    assert [each.here for each in tuning.leave_one_out(found)] == [0.0, 0.0]
