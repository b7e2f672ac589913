import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from bbo_bench.plan import ConfigError, check_constants
from bbo_bench.plugins import find

TINY = ("budget.rounds=[4,4]", "budget.evaluation=8", "budget.validation=0")
RUN = ("run", "task=toy", "optimizer=toy_search")
BROKEN = """
from bbo_bench.core import Optimizer

class Broken(Optimizer):
    def ask(self, n):
        raise RuntimeError("the proxy diverged")

    def state_dict(self):
        return {}

    tell = load_state_dict = lambda self, *_: None
    recommend = lambda self, n: self.problem.prior.sample(n, self.rng)
"""


def plugin(root: Path, name: str, code: str, yaml_text: str = "") -> Path:
    folder = root / "optimizers" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(code)
    (folder / f"{name}.yaml").write_text(f"_target_: bbo_bench.optimizers.{name}.Broken\n{yaml_text}")
    return root


@pytest.mark.parametrize("command", [["--help"], ["list"], ["run", "--help"], ["show", "optimizer=sqdf"]])
def test_help_and_list_import_no_torch(command):
    program = f"import sys; from bbo_bench.cli import main\ntry: main({command})\nexcept SystemExit: pass\n"
    program += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_list_has_a_line_each_and_says_what_is_missing(cli, toys, tmp_path):
    toys(plugin(tmp_path, "folding", BROKEN, "summary: folds\nrequires: [no_such_module]\nextra: rna"))
    status, out, _ = cli("list")
    assert status == 0
    assert [line for line in out.splitlines() if "toy_search " in line and "steps around it" in line]
    assert 'folds [needs no_such_module: pip install "bbo-bench[rna]"]' in out


def test_list_has_variants_below_what_they_vary_and_what_methods_cost(cli):
    lines = cli("list").out.splitlines()
    places = {line.split()[0]: i for i, line in enumerate(lines)}
    for name, base in {"hartmann_6": "synthetic", "airfoil_low_re": "airfoil", "ddpo_oracle": "ddpo"}.items():
        between = lines[places[base] + 1 : places[name] + 1]
        assert between and all(line.startswith("    ") for line in between), f"{name} is not below {base}"
    assert 0.5 < float(lines[places["sqdf"]].split()[1]) < 20, "minutes"


def test_show_prints_settings_and_the_quality_of_the_prior(cli):
    status, out, _ = cli("show", "task=airfoil")
    assert status == 0
    assert "reynolds" in out.lower() and "frechet:" in out and "precision:" in out
    assert "step: 2.0" in cli("show", "toy_search_wide").out


def test_show_finds_the_prior_of_a_variant(cli):
    assert "command: bbo-bench prior train task=airfoil" in cli("show", "task=airfoil_climb").out, "shared"
    assert "command: bbo-bench prior train task=tfbind8_egr2" in cli("show", "task=tfbind8_egr2").out, "its own"
    assert "prior:" not in cli("show", "task=toy").out


def test_a_run_writes_its_folder_and_nothing_else(cli, tmp_path):
    assert cli(*RUN, *TINY, "seed=3", "name=first").status == 0
    folder = tmp_path / "results/first/toy/toy_search/seed_3"
    assert {path.relative_to(tmp_path).parts[:5] for path in tmp_path.rglob("*") if path.is_file()} == {
        folder.relative_to(tmp_path).parts
    }
    assert yaml.safe_load((folder / "config.yaml").read_text()) == {
        "task": {"name": "toy", "_target_": "bbo_bench.tasks.toy.Toy", "noise_std": 0.1},
        "optimizer": {"name": "toy_search", "_target_": "bbo_bench.optimizers.toy_search.ToySearch", "step": 0.5},
        "budget": {"rounds": [4, 4], "evaluation": 8, "validation": 0},
        "seed": 3,
        "device": "cpu",
        "threads": 1,
    }


def test_a_single_run_says_what_it_has_come_to(cli, tmp_path):
    out = cli(*RUN, *TINY).out
    header, *_, last = (tmp_path / "results/default/toy/toy_search/seed_0/metrics.csv").read_text().splitlines()
    row = dict(zip(header.split(","), last.split(","), strict=True))
    mean, validity, best = (float(row[key]) for key in ("reward_mean", "validity", "best"))
    numbers = f"mean {mean:.3g}, validity {validity:.3g}, best {best:.3g} after 8 queries"
    assert out == f"results/default/toy/toy_search/seed_0: {numbers}; bbo-bench report results/default\n"
    assert "seed_1: complete after 8 queries" in cli(*RUN, *TINY, "budget.evaluation=0", "seed=1").out
    assert cli("run", "-m", *RUN[1:], *TINY, "seed=2").out.count("queries;") == 0


def test_a_complete_run_is_skipped_and_another_configuration_refused(cli, tmp_path):
    assert cli(*RUN, *TINY, "device=cpu").status == 0
    before = (tmp_path / "results/default/toy/toy_search/seed_0/ledger.csv").stat().st_mtime_ns
    assert "results/default/toy/toy_search/seed_0 is complete: skipped" in cli(*RUN, *TINY, "device=cpu").out
    status, _, err = cli(*RUN, *TINY, "device=cpu", "optimizer.step=0.7")
    assert status == 1
    assert "another configuration (optimizer.step: 0.5 there, 0.7 now)" in err
    assert (tmp_path / "results/default/toy/toy_search/seed_0/ledger.csv").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task=toi", "optimizer=toy_search"], "there is no task named 'toi'; did you mean toy?"),
        (["task=toy", "optimizer=toy_serch"], "did you mean toy_search or toy_search_wide?"),
        (["-m", "task=toy,toi", "optimizer=toy_search"], "there is no task named 'toi'; did you mean toy?"),
        ([*RUN[1:], "budget=smok"], "there is no budget named 'smok'; did you mean smoke?"),
        ([*RUN[1:], "+experiment=smok"], "there is no experiment named 'smok'; did you mean smoke?"),
        ([*RUN[1:], "sed=1"], "there is no setting sed; did you mean seed?"),
        (["task=toy", "optimiser=toy_search"], "there is no setting optimiser; did you mean optimizer?"),
        ([*RUN[1:], "optimizer.stop=1"], "there is no setting optimizer.stop; did you mean step?"),
        ([*RUN[1:], "+optimizer.stop=1"], "optimizer toy_search has no setting stop; did you mean step?"),
        (["-m", *RUN[1:], "+optimizer.stop=1,2"], "optimizer toy_search has no setting stop; did you mean step?"),
        ([*RUN[1:], "optimizer.step=wide"], "step must be a number like 0.5, got 'wide'"),
        (["task=toy", "optimizer=sqdf", "optimizer.kl_weight=low"], "kl_weight must be a number or null, got 'low'"),
        ([*RUN[1:], "seed=one"], "seed must be a whole number, as in seed=1, got seed=one"),
        ([*RUN[1:], "seed="], "seed must be a whole number, as in seed=1, got seed="),
        ([*RUN[1:], "seed=1,2"], "seed=1,2 is several values, of which a run takes one; add -m"),
        (["task=toy,airfoil", "optimizer=toy_search"], "task=toy,airfoil is several values"),
        ([*RUN[1:], "experiment=smoke"], "a preset is added to a run's settings, by +experiment=smoke"),
        ([*RUN[1:], "budget=32"], "budget=32 names no budget; queries per round are set by 'budget.rounds=[32]'"),
        ([*RUN[1:], "budget.rounds=64"], "as in 'budget.rounds=[64]', got budget.rounds=64"),
        ([*RUN[1:], "budget.rounds=64,128"], "as in 'budget.rounds=[64,128]', got budget.rounds=64,128"),
        ([*RUN[1:], "budget.rounds=[64, 128"], "its brackets must close within one word"),
        ([*RUN[1:], "name=a=b"], """quotes within quotes: "name='a=b'\""""),
        ([*RUN[1:], "name="], "name needs a value, got name="),
        ([*RUN[1:], "step=1"], "there is no setting step; did you mean optimizer.step?"),
        ([*RUN[1:], "+budget=smoke"], "budget is set without +: budget=smoke"),
        ([*RUN[1:], "~seed"], "a setting cannot be removed"),
        (["Task=toy", "optimizer=toy_search"], "there is no setting Task; did you mean task?"),
        (["toy", "toy_search"], "expected SETTING=VALUE, got toy; did you mean task=toy?"),
        (["--task=toy"], "settings are written without dashes: task=toy, got --task=toy"),
        ([*RUN[1:], "--multi-run"], "there is no option --multi-run; -m makes a sweep"),
        ([*RUN[1:], "hydra.launcher.n_jobs=2"], "choose one with it, as in -m hydra/launcher=joblib"),
        ([*RUN[1:], "+optimizer.name=x"], "optimizer toy_search: no setting may be called name"),
        ([*RUN[1:], "optimizer._target_=os.system"], "_target_ is the plugin's own"),
        ([*RUN[1:], "seed=-1"], "seed must be at least 0"),
        ([*RUN[1:], "threads=0"], "threads must be at least 1"),
        (["task=toy", "optimizer=rwr", "optimizer.diversity=1"], "add it by +optimizer.diversity="),
        (["task=toy", "optimizer=rwr", "optimizer.proxy=mine"], "like optimizer.proxy.heads=; got 'mine'"),
        ([*RUN[1:], "device=gpu"], "device=gpu is unknown; use one of auto, cpu"),
        ([*RUN[1:], "budget.rounds=[0,4]"], "positive numbers of queries, got [0, 4]"),
        ([*RUN[1:], "budget.validation=1000"], "0 <= validation <= evaluation"),
        (["task=toy"], "optimizer is missing: add optimizer=NAME; `bbo-bench list` has all"),
        ([*RUN[1:], "hydra/launcher=submitit_slurm"], "pip install 'bbo-bench[slurm]'"),
        ([*RUN[1:], "hydra/launcher=jolib"], "there is no hydra/launcher named 'jolib'; did you mean joblib?"),
    ],
)
def test_bad_input_is_an_error_before_any_work(cli, tmp_path, arguments, message):
    status, _, err = cli("run", *arguments)
    assert status == 1
    assert message in err
    assert err.startswith("error: ") and len(err.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_an_absent_device_is_refused(cli, monkeypatch, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert f"device={device} is not on this machine; use one of auto, cpu" in cli(*RUN, f"device={device}").err


@pytest.mark.parametrize(
    ("code", "extra", "message"),
    [
        ("raise OSError('no licence')", "", "bbo_bench.optimizers.mine.Broken raised OSError: no licence"),
        ("", "", "bbo_bench.optimizers.mine.Broken raised AttributeError"),
        (BROKEN, "requires: [no_such_module]\nextra: rna", 'not installed here; pip install "bbo-bench[rna]"'),
        (BROKEN, "temperature: 1.0", "optimizer mine has no setting temperature"),
    ],
)
def test_a_plugin_that_cannot_run_stops_a_sweep_before_its_first_run(
    cli, toys, tmp_path, monkeypatch, code, extra, message
):
    toys(plugin(tmp_path / "roots", "mine", code, extra))
    monkeypatch.delitem(sys.modules, "bbo_bench.optimizers.mine", raising=False)
    status, _, err = cli("run", "-m", "task=toy", "optimizer=toy_search,mine")
    assert status == 1
    assert message in err
    assert not (tmp_path / "results").exists()


def test_a_failed_run_is_marked_and_ends_no_other(cli, toys, tmp_path, monkeypatch):
    toys(plugin(tmp_path / "roots", "mine", BROKEN))
    monkeypatch.delitem(sys.modules, "bbo_bench.optimizers.mine", raising=False)
    status, _, err = cli("run", "-m", "task=toy", "optimizer=mine,toy_search", "seed=0,1", *TINY)
    assert status == 1
    assert err.splitlines() == [
        "4 runs; no earlier ones to estimate their time by",
        "2 of 4 runs are complete",
        "failed: results/default/toy/mine/seed_0: RuntimeError: the proxy diverged",
        "failed: results/default/toy/mine/seed_1: RuntimeError: the proxy diverged",
    ]
    results = tmp_path / "results/default/toy"
    assert "the proxy diverged" in (results / "mine/seed_0/error.txt").read_text()
    assert not (results / "toy_search/seed_1/error.txt").exists()
    single = cli("run", "task=toy", "optimizer=mine", *TINY)
    assert (single.status, single.err) == (1, "error: RuntimeError: the proxy diverged")


def test_runs_that_would_share_a_folder_are_refused(cli, tmp_path):
    arguments = ("run", "-m", *RUN[1:], "optimizer.step=1.0,2.0", *TINY)
    assert "two runs of this sweep share the folder results/default/toy/toy_search/seed_0" in cli(*arguments).err
    assert cli(*arguments, "name=step_${optimizer.step}").status == 0
    assert {path.name for path in (tmp_path / "results").iterdir() if path.name.startswith("step")} == {
        "step_1.0",
        "step_2.0",
    }


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_results_that_cannot_be_written_are_an_error(cli, tmp_path, mode):
    (tmp_path / "file").touch()
    status, _, err = cli("run", *mode, *RUN[1:], *TINY, "results=file/results")
    assert status == 1
    assert "Not a directory" in err and len(err.splitlines()) == 1


def test_ctrl_c_is_one_line(cli, monkeypatch):
    def interrupt(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    monkeypatch.setattr("bbo_bench.loop.run", interrupt)
    status, _, err = cli(*RUN, *TINY)
    assert status == 130
    assert err.strip() == "interrupted; the same command takes it up where it stopped"


def test_report_prints_its_tables_and_says_where_they_are(cli):
    assert "error: there is no folder results/default" in cli("report", "results/default").err
    assert cli("run", "-m", *RUN[1:], *TINY, "seed=0,1").status == 0
    status, out, _ = cli("report", "results/default", "--out", "out")
    assert status == 0
    assert "toy_search" in out and out.endswith("written: out/report.md\n")


@pytest.mark.slow
def test_check_runs_the_conformance_suite(cli):
    program = "from bbo_bench.cli import main; raise SystemExit(main(['check', 'task=toy']))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert " passed" in done.stdout and "failed" not in done.stdout and "Rewrite" not in done.stdout


def test_commands_that_name_a_plugin_say_when_there_is_none(cli):
    assert "did you mean airfoil" in cli("show", "task=airfol").err
    assert "no task or optimizer named 'toi'; did you mean toy" in cli("check", "toi").err
    assert "expected task=NAME or optimizer=NAME, got budget=smoke" in cli("show", "budget=smoke").err
    assert "has no diffusion prior to train" in cli("prior", "train", "task=toy").err
    assert "shares the prior in" in cli("prior", "train", "task=airfoil_climb").err, "others would lose theirs"
    assert "has a prior.safetensors already; replace it with --overwrite" in cli("prior", "train", "task=airfoil").err
    assert "no prior.safetensors to distil" in cli("prior", "distill", "task=airfoil", "--out", ".").err


@pytest.mark.parametrize("word", ["optimizer.kl_wait=1", "+optimizer.kl_wait=1", "optimizer.kl_weight=abc", "sed=1"])
def test_a_typo_is_refused_before_anything_heavy_is_imported(word):
    program = f"""
import sys
import time
from bbo_bench.cli import main
try:
    status = main(["run", "-m", "task=airfoil", "optimizer=sqdf", {word!r}])
except SystemExit as stop:
    status = stop.code
assert status and "torch" not in sys.modules, status
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_pairs_that_cannot_work_are_refused_together_with_what_can(cli, tmp_path):
    status, _, err = cli("run", "-m", "task=toy,rna", "optimizer=cma_es,genetic,sqdf", "seed=0,1", *TINY)
    assert status == 1
    toy, toys, rna, rnas = err.splitlines()
    assert toy == "error: sqdf cannot work on toy: SQDF steers a DiffusionPrior, got Gaussian"
    assert rna == "cma_es cannot work on rna: CmaEs searches a Box, got the domain Sequences"
    assert {"cma_es", "genetic", "turbo"} <= set(toys.removeprefix("on toy these can: ").split(", "))
    can = set(rnas.removeprefix("on rna these can: ").split(", "))
    assert {"genetic", "turbo", "qlogei", "sqdf"} <= can and not {"cma_es", "thompson", "idql"} & can
    assert not (tmp_path / "results").exists()


def test_a_printed_command_works_when_pasted(cli):
    out = cli(*RUN, *TINY, """name='a b é/x=1, "y"'""").out
    command = shlex.split(out[out.index("bbo-bench report") :])
    assert command == ["bbo-bench", "report", 'results/a b é/x=1, "y"']
    assert cli(*command[1:], "--out", "out").status == 0


@pytest.mark.parametrize(
    ("task", "settings", "stale"),
    [
        ("airfoil", ["task.alpha=2.0", "task.reynolds=5e5"], "y_prior and best_known of airfoil were"),
        ("airfoil", ["task.alpha=2.0", "task.y_prior=0.7"], "best_known of airfoil was"),
        ("tfbind8", ["task.factor=egr2"], "y_prior of tfbind8 was"),
        ("airfoil", ["task.alpha=2.0", "task.y_prior=0.7", "task.best_known=2.1"], None),
        ("tfbind8", ["task.factor=egr2", "task.y_prior=0.4"], None),
        ("airfoil", ["task.noise_std=0.5"], None),
        ("airfoil", ["task.best_known=3.0"], None),
        ("peptide_mhc", ["task.best_peptide=GILGFVFTL"], None),
    ],
)
def test_constants_go_with_the_settings_that_they_were_measured_at(task, settings, stale):
    choice = find("task", task)
    changed = OmegaConf.to_container(OmegaConf.from_dotlist([each.removeprefix("task.") for each in settings]))
    if stale is None:
        check_constants(choice, choice.settings | changed)
        return
    with pytest.raises(
        ConfigError, match=rf"another black box, for which {stale} not measured; .*card task={task} task"
    ):
        check_constants(choice, choice.settings | changed)


def test_stale_constants_are_refused_before_any_work(cli, tmp_path):
    status, _, err = cli("run", "task=airfoil", "optimizer=prior_sampling", "task.alpha=2.0", *TINY)
    assert status == 1 and "`bbo-bench card task=airfoil task.alpha=2.0`" in err
    assert not (tmp_path / "results").exists()
