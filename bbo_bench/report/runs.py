"""Reading run folders: what is complete, and what is left out and why."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from bbo_bench.names import METRICS
from bbo_bench.plan import shown
from bbo_bench.record import RecordError, check_files
from bbo_bench.report.labels import LabelError, flat, identity, labels, unnamed
from bbo_bench.untrusted import DAMAGE, describes_a_run, read_yaml

KEYS = ["task", "optimizer", "seed"]
ROW = ("task", "optimizer", "budget")
"""Parts of a configuration that make another section or row where they differ, or are refused; seeds are pooled."""
DESIGNS = ("designs.npz", "recommended.npz")
PHASES = ["ask", "oracle", "tell", "evaluation"]
"""What a round's seconds are split into."""


class ReportError(RuntimeError):
    """There is nothing to report, or runs that do not belong into one report."""


@dataclass(frozen=True)
class Run:
    """A complete run.

    Attributes:
        folder: Where it lies: `<experiment>/<task>/<optimizer>/seed_<n>`.
        task: Label of the task, which says in what its settings differ from its YAML's.
        optimizer: That of the optimizer.
        seed: Seed.
        config: Resolved configuration.
        metrics: A row per round.
        provenance: Versions, machine, seconds per phase and round, peak memory.
    """

    folder: Path
    task: str
    optimizer: str
    seed: int
    config: dict[str, Any]
    metrics: pd.DataFrame
    provenance: dict[str, Any]

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self.folder.parents[2].name

    @property
    def budget(self) -> tuple[int, ...]:
        """Queries per round."""
        return tuple(self.config["budget"]["rounds"])

    @property
    def settings(self) -> dict[str, Any]:
        """The optimizer's settings without its name."""
        return unnamed(self.config["optimizer"])

    @cached_property
    def variant(self) -> str:
        """All that the run's outcome depends on, without its seed and the machine, to compare runs by."""
        task = unnamed(self.config["task"])  # by another name it is the same one
        return identity({**{key: self.config.get(key) for key in ROW}, "task": task})

    @property
    def shared(self) -> dict[str, Any]:
        """What the runs of one row may differ in: device, threads and the like."""
        return {key: value for key, value in self.config.items() if key not in (*ROW, "seed")}


class Runs(NamedTuple):
    """What was found."""

    complete: list[Run]
    left_out: dict[Path, str]
    """Folders of other runs, with the reason."""


def find_runs(folders: Sequence[Path]) -> Runs:
    """All runs in or below `folders`, sorted by task, optimizer and seed.

    Raises:
        ReportError: If no run is complete, two outcomes of one run differ, or two budgets of one task do.
    """
    runs = read_runs(folders)
    _check_budgets(runs.complete)
    return runs


def read_runs(folders: Sequence[Path]) -> Runs:
    """The same, of any budgets."""
    paths = sorted({file.parent.resolve() for folder in folders for file in Path(folder).rglob("config.yaml")})
    where = ", ".join(map(shown, folders))
    if not paths:
        raise ReportError(f"no run folder (one with a config.yaml) in {where}; start one with `bbo-bench run`")
    complete, left_out = [], {}
    for path in paths:
        try:
            complete.append(_read(path))
        except (RecordError, *DAMAGE) as error:
            damage = f"damaged, or made by another program ({type(error).__name__}: {error})"
            left_out[path] = str(error) if isinstance(error, RecordError) else damage
    if not complete:
        reasons = "\n".join(f"  {shown(path)}: {reason}" for path, reason in left_out.items())
        raise ReportError(f"no complete run in {where}; run them again to resume them:\n{reasons}")
    complete = _labelled(_distinct(complete, left_out))
    return Runs(sorted(complete, key=lambda run: (run.task, run.optimizer, run.seed)), left_out)


def designs(run: Run) -> dict[str, np.ndarray[Any, Any]] | None:
    """A run's queried and recommended designs, as far as they were kept, or None.

    Raises:
        ReportError: If a file is damaged, or holds objects instead of numbers.
    """
    found: dict[str, np.ndarray[Any, Any]] = {}
    for path in (run.folder / name for name in DESIGNS):
        try:
            if path.exists():
                with np.load(path) as arrays:
                    if not all(isinstance(x, np.ndarray) for x in arrays.values()):
                        raise ValueError("it holds other files than arrays")
                    found |= arrays
        except DAMAGE as error:
            raise ReportError(f"{shown(path)} cannot be read: {error}") from error
    return found or None


def _read(folder: Path) -> Run:
    error = folder / "error.txt"
    if error.exists():
        raise RecordError(f"failed: {error.read_text(encoding='utf-8').strip().splitlines()[-1]}")
    if not (folder / "provenance.json").exists():
        raise RecordError("incomplete: no round is committed")
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    if not provenance["complete"]:
        raise RecordError(f"incomplete: {len(provenance['seconds'])} rounds are committed")
    if not (folder / "metrics.csv").exists():
        raise RecordError("metrics.csv is missing")
    # ledgers and designs may be absent on purpose: reference runs are published without the large ones
    kept = {name: digest for name, digest in provenance["files"].items() if (folder / name).exists()}
    check_files(folder, kept)
    config = read_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
    if not describes_a_run(config):
        raise RecordError("its config.yaml is not that of a run")
    metrics = pd.read_csv(folder / "metrics.csv")
    if (named := re.fullmatch(r"seed_(\d+)", folder.name)) and int(named[1]) != config["seed"]:
        raise RecordError(f"its config.yaml says seed={config['seed']}")
    rounds = config["budget"]["rounds"]
    if [*metrics["round"]] != [*range(len(rounds))] or [*metrics["queries"]] != [*accumulate(rounds)]:
        raise RecordError(f"metrics.csv has other rounds than its budget, {rounds}")
    spent = pd.DataFrame(provenance["seconds"])[[*PHASES, "total"]].to_numpy(dtype=float)
    if len(spent) != len(rounds) or not np.isfinite([*spent.flat, float(provenance["peak_mb"])]).all():
        raise RecordError(f"provenance.json has not the seconds of {len(rounds)} rounds, or no peak_mb")
    words = [str(key) for key in metrics if not is_numeric_dtype(metrics[key])]
    endless = [key for key in METRICS if key in metrics and key not in words and np.isinf(metrics[key]).any()]
    if words or endless:
        raise RecordError(f"metrics.csv has no finite numbers under {', '.join([*words, *endless])}")
    if "reward_mean" not in metrics:
        raise RecordError("made without an evaluation (budget.evaluation is 0)")
    task, optimizer = config["task"]["name"], config["optimizer"]["name"]
    return Run(folder, task, optimizer, config["seed"], config, metrics, provenance)


def _labelled(runs: list[Run]) -> list[Run]:
    try:
        tasks = labels("task", (run.config["task"] for run in runs))
        optimizers = labels("optimizer", (run.config["optimizer"] for run in runs))
    except LabelError as error:
        raise ReportError(str(error)) from error
    boxes: dict[str, list[str]] = {}
    for run in runs:  # a task by another name is the same one
        boxes.setdefault(identity(unnamed(run.config["task"])), []).append(tasks[identity(run.config["task"])])
    names = {box: min(each, key=lambda name: (len(name), name)) for box, each in boxes.items()}
    return [
        replace(
            run,
            task=names[identity(unnamed(run.config["task"]))],
            optimizer=optimizers[identity(run.config["optimizer"])],
        )
        for run in runs
    ]


def _distinct(runs: list[Run], left_out: dict[Path, str]) -> list[Run]:
    """Without the copies of a run that several experiments share."""
    seen: dict[tuple[str, int], Run] = {}
    for run in runs:
        other = seen.setdefault((run.variant, run.seed), run)
        if not other.metrics.equals(run.metrics):
            raise ReportError(
                f"{shown(other.folder)} and {shown(run.folder)} are both {run.task}, {run.optimizer}, seed {run.seed}, "
                "and differ; report their experiments separately, or see where and by how much: bbo-bench compare "
                f"--reproduction {shlex.join(map(shown, _apart(other.folder, run.folder)))}"
            )
        if other is not run:
            left_out[run.folder] = f"the same run as {shown(other.folder)}"
    return list(seen.values())


def _apart(one: Path, other: Path) -> tuple[Path, Path]:
    """The folders above two runs from which on their paths are alike."""
    while one.name == other.name and one.parent != other.parent:
        one, other = one.parent, other.parent
    return one, other


def _check_budgets(runs: list[Run]) -> None:
    budgets: dict[str, Run] = {}
    for run in runs:
        other = budgets.setdefault(run.task, run)
        one, two = (flat(each.config["budget"]) for each in (other, run))
        if key := next((key for key in one | two if one.get(key) != two.get(key)), None):
            raise ReportError(
                f"{shown(other.folder)} has budget.{key}={one.get(key)}, {shown(run.folder)} has "
                f"budget.{key}={two.get(key)}, which do not compare; report them separately"
            )
