"""Run folders without runs: numbers that are known, in the files that a run leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bbo_bench.names import METRICS

ROUNDS = (64, 128, 256, 512)
REFERENCE = {"reward_mean": 1.0, "validity": 0.95, "pairwise": 0.5, "vendi": 0.2, "unique": 1.0}
TOY = """
import torch
from bbo_bench.core import Task
from bbo_bench.domains import Box

class Toy(Task):
    domain = Box(torch.full((2,), -10.0), torch.full((2,), 10.0))
    infeasible_score = 0.0

    def __init__(self, of="toy"): pass
    def prior(self): raise NotImplementedError
    def features(self, x): raise NotImplementedError
    def evaluate(self, x): return x[:, 0]
    def valid(self, x): return x[:, 1] > 0
    def reference(self): return torch.linspace(0, 1, 40).reshape(20, 2)
    def render(self, x, axes): axes.plot([0, 1, 2], [0.0, *x.tolist()])
"""

Make = Callable[..., Path]


@pytest.fixture(scope="package")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The target of a task that can be drawn, and is installed."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "toy_task.py").write_text(TOY)
    (folder / "tasks/toy").mkdir(parents=True)
    (folder / "tasks/toy/__init__.py").touch()
    (folder / "tasks/toy/toy.yaml").write_text("_target_: toy_task.Toy\nsummary: can be drawn\n")
    (folder / "tasks/toy/other.yaml").write_text("defaults: [toy, _self_]\nof: other\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("BBO_BENCH_PLUGINS", str(folder))
        yield "toy_task.Toy"


@pytest.fixture
def make(tmp_path: Path, writer: Callable[[Path], Make]) -> Make:
    """Write the folder of a run: `make(optimizer, seed, {metric: a value per round}, ...)`."""
    return writer(tmp_path / "results")


@pytest.fixture(scope="package")
def writer(toy: str) -> Callable[[Path], Make]:
    """The same for any folder of results."""
    return lambda root: partial(write, toy, root)


def write(
    toy: str,
    root: Path,
    optimizer: str,
    seed: int,
    metrics: Mapping[str, Any],
    *,
    task: str = "toy",
    experiment: str = "exp",
    settings: Mapping[str, Any] | None = None,
    of_task: Mapping[str, Any] | None = None,
    machine: Mapping[str, Any] | None = None,
    evaluation: int = 64,
    reference: bool = True,
    rounds: tuple[int, ...] = ROUNDS,
    complete: bool = True,
) -> Path:
    """Write the folder of a run."""
    folder = root / experiment / task / optimizer / f"seed_{seed}"
    folder.mkdir(parents=True)
    of_task = of_task or ({} if task == "toy" else {"of": task})
    config = {
        "task": {"name": task, "_target_": toy, **of_task},
        "optimizer": {"name": optimizer, "_target_": optimizer.partition("_kl")[0], **(settings or {})},
        "budget": {"rounds": list(rounds), "evaluation": evaluation, "validation": 16},
        "seed": seed,
        "threads": 1,
        "device": "cpu",
        **(machine or {}),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    columns = {"round": range(len(rounds)), "queries": np.cumsum(rounds)}
    columns |= {key: metrics.get(key, np.nan) for key in [*METRICS, *(metrics.keys() - set(METRICS))]}
    columns |= {f"{key}_reference": value for key, value in REFERENCE.items() if reference}
    pd.DataFrame(columns).to_csv(folder / "metrics.csv", index=False)
    x = np.random.default_rng(seed).uniform(-0.2, 1, (64, 2)).astype(np.float32)
    np.savez(folder / "designs.npz", **{"queried_0": x, f"recommended_{len(rounds) - 1}": x + 0.1})
    kept = [path for path in folder.iterdir() if path.suffix in (".csv", ".npz")]
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
    seconds = {"ask": 1.0, "oracle": 2.0, "tell": 5.0, "evaluation": 1.5, "total": 10.0}
    provenance = {"seconds": [seconds] * len(rounds), "complete": complete, "peak_mb": 500.0 + seed, "files": files}
    provenance |= {"commit": "abc", "platform": "Linux", "device": "cpu", "device_name": "x86", "threads": 1}
    provenance["versions"] = {"python": "3.11", "torch": "2.6"}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Where `make` puts the experiments."""
    return tmp_path / "results"


@pytest.fixture(scope="package", autouse=True)
def coarse() -> Iterator[None]:
    """Figures of few pixels, which take most of a report's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bbo_bench.report.layout.DPI", 40)
        yield
