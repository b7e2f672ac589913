"""Sweeps: what each of their runs is, and that in processes they give what serial ones give, byte for byte."""

from functools import partial
from pathlib import Path
from statistics import median

import pytest
import yaml
from tqdm import tqdm

from bbo_bench.status import Progress, Times, earlier, progress, seconds_left

SWEEP = ("task=toy", "optimizer=toy_search,prior_sampling", "seed=0,1", "budget.rounds=[4,4]", "budget.evaluation=8")
SWEEP += ("budget.validation=0", "device=cpu")


def results(folder: Path) -> dict[str, bytes]:
    files = [*folder.rglob("*.csv"), *folder.rglob("*.npz"), *folder.rglob("config.yaml")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_two_processes_give_what_serial_runs_give(cli, tmp_path):
    two = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert cli("run", "-m", *SWEEP, "name=apart", *two).status == 0
    assert cli("run", "-m", *SWEEP, "name=serial").status == 0
    together, serial = results(tmp_path / "results/apart"), results(tmp_path / "results/serial")
    assert len(serial) == 4 * 5
    assert together == serial
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"apart", "serial"}


def test_one_value_of_a_plugin_setting_is_every_runs(cli, tmp_path):
    chosen = ("task.noise_std=0.2", "optimizer=toy_search,toy_search_wide", "optimizer.step=0.7")
    assert cli("run", "-m", *SWEEP, *chosen, "name=given").status == 0
    configs = [yaml.safe_load(file.read_text()) for file in (tmp_path / "results/given").rglob("config.yaml")]
    assert len(configs) == 4
    assert {each["optimizer"]["name"] for each in configs} == {"toy_search", "toy_search_wide"}
    assert {(each["task"]["noise_std"], each["optimizer"]["step"]) for each in configs} == {(0.2, 0.7)}


def test_another_setting_may_be_made_of_the_seed(cli, tmp_path):
    outcome = cli("run", "-m", *SWEEP, "name='named_${seed}'", "task.noise_std=${seed}", "optimizer=toy_search")
    assert "2 of 2 runs are complete" in outcome.err
    for seed in (0, 1):
        folder = tmp_path / f"results/named_{seed}/toy/toy_search/seed_{seed}"
        assert yaml.safe_load((folder / "config.yaml").read_text())["task"]["noise_std"] == seed


def test_one_bar_shows_the_whole_sweep(cli, monkeypatch):
    monkeypatch.setattr("bbo_bench.board.tqdm", partial(tqdm, disable=False))
    assert cli("run", "task=toy", "optimizer=toy_search", *SWEEP[3:], "name=whole").status == 0
    outcome = cli("run", "-m", *SWEEP, "name=whole")
    shown = [line for line in outcome.err.replace("\r", "\n").splitlines() if "sweep:" in line]
    assert "1/4" in shown[0], "one was complete before"
    assert "4/4" in shown[-1]


def test_what_is_left_is_told_by_the_times_of_runs_like_it(cli, tmp_path):
    names = {"two": "budget.rounds=[4,4]", "ours": "budget.rounds=[4,4]"}
    for name, rounds in names.items():
        assert cli("run", "task=toy", "optimizer=toy_search", *SWEEP[4:], rounds, f"name={name}").status == 0
    folders = [tmp_path / f"results/ours/toy/toy_search/seed_{seed}" for seed in (0, 1, 2)]
    runs = [progress(folder) for folder in folders]
    times = Times(earlier(folders))
    whole = sum(runs[0].seconds)
    expected = sum(median(column) for column in zip(*[each.seconds for each in earlier(folders)], strict=True))
    assert whole > 0
    assert seconds_left(runs, [(4, 4)] * 3, times) == pytest.approx(2 * expected)
    assert seconds_left(runs[:1], [(4, 4)], times) is None, "nothing is left"
    assert seconds_left([Progress(folders[1], "stopped", (4, 4), (1.0,))], [(4, 4)], times) < expected


@pytest.mark.parametrize("seeds", ["0,-1", "-1,0"])
def test_every_seed_is_checked(cli, tmp_path, seeds):
    outcome = cli("run", "-m", *SWEEP, f"seed={seeds}")
    assert (outcome.status, outcome.err) == (1, "error: seed must be at least 0, got -1")
    assert not (tmp_path / "results").exists()


def test_presets_name_plugins_that_exist(cli):
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    from bbo_bench.plugins import choices

    cli("run", "task=toy")  # fills Hydra's groups
    GlobalHydra.instance().clear()
    with initialize_config_module("bbo_bench.conf", version_base="1.3"):
        for preset, name in {
            "smoke": "smoke",
            "standard": "standard",
            "ablation": "ablation",
            "kl": "kl/kl_0.1",
            "control": "control",
            "offline": "offline",
            "prompts": "prompts",
            "published": "published",
        }.items():
            config = compose(
                "config",
                [f"+experiment={preset}", "task=toy", "optimizer=sqdf", "optimizer.kl_weight=0.1"],
                return_hydra_config=True,
            )
            params = config.hydra.sweeper.params
            assert config.name == name
            assert set(params.task.split(",")) <= choices("task").keys()
            assert {name.strip() for name in params.optimizer.split(",")} <= choices("optimizer").keys()
