"""The command line in this process, in a folder of its own, with the plugins of `tests/plugins`."""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

import pytest

os.environ["TQDM_DISABLE"] = "1"  # tqdm reads it once, when torch imports it
os.environ["BBO_BENCH_CACHE"] = os.path.join(gettempdir(), f"bbo_bench_tests_{os.getuid()}")
import torch

torch.set_num_threads(1)  # the problems are small; threads would fight for the cores

TESTS = Path(__file__).parent
PLUGINS = TESTS / "plugins"


ONE_OF_A_KIND = {
    *("prior_sampling", "cma_es", "genetic", "turbo", "qlogei"),
    *("sqdf", "ddpo", "grpo", "draft", "seiko_thompson", "d3po", "awm", "guidance", "svdd"),
    *("cascade", "sequential", "value_dpo_iql"),
    *("airfoil", "tfbind8", "peptide_mhc", "molecule", "rna", "image", "ehrlich", "ackley_20"),
    *("nav1d", "hopper_medium"),
}
"""Plugins on which a test that is marked `every_plugin` is no slow one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of what is tested of every plugin, all is slow but `ONE_OF_A_KIND`, or those that the mark names."""
    for item in items:
        if marker := item.get_closest_marker("every_plugin"):
            name = getattr(getattr(item, "cls", None), "name", None) or item.callspec.params["name"]
            if name not in (marker.args or ONE_OF_A_KIND):
                item.add_marker(pytest.mark.slow)


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def toys(monkeypatch, tmp_path) -> Callable[..., Path]:
    """Add roots of local plugins; returns the way to add more of them."""
    roots: list[Path] = []

    def add(*more: Path) -> Path:
        roots.extend(more)
        monkeypatch.setenv("BBO_BENCH_PLUGINS", ":".join(map(str, roots)))
        for kind in ("tasks", "optimizers"):
            package = import_module(f"bbo_bench.{kind}")
            paths = [*package.__path__, *(str(root / kind) for root in more)]
            monkeypatch.setattr(package, "__path__", list(dict.fromkeys(paths)))
        return tmp_path

    add(PLUGINS)
    return add


@pytest.fixture
def unpainted(monkeypatch) -> None:
    """Figures are made, but not painted, which takes most of a report's time: their files are empty."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda self, path, **_: Path(path).touch())


@pytest.fixture
def cli(toys, monkeypatch, tmp_path, capfd) -> Callable[..., Outcome]:
    from hydra.core.global_hydra import GlobalHydra

    from bbo_bench.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr("sys.argv", [])

    def call(*arguments: str) -> Outcome:
        GlobalHydra.instance().clear()
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        message = ""
        try:
            status = main([str(each) for each in arguments])
        except SystemExit as stop:
            message = stop.code if isinstance(stop.code, str) else ""
            status = 1 if message else int(stop.code or 0)
        captured = capfd.readouterr()
        return Outcome(status, captured.out, captured.err + message)

    return call


@pytest.fixture
def gaussian():
    """N(0, I) in two dimensions: an untrained network predicts v = 0, the exact denoiser."""
    from bbo_bench.diffusion.codecs import Standardize
    from bbo_bench.diffusion.denoisers import MLP
    from bbo_bench.diffusion.prior import DiffusionPrior
    from bbo_bench.domains import Box

    box = Box(torch.full((2,), -20.0), torch.full((2,), 20.0))
    scheduler = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    return DiffusionPrior(MLP(2, width=32, depth=1), Standardize(box), scheduler, {"steps": 20})
