"""Reading run folders: what is complete, and what is left out and why."""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from bbo_bench.plan import shown
from bbo_bench.record import RecordError, check_files

KEYS = ["task", "optimizer", "seed"]


class ReportError(RuntimeError):
    """There is nothing to report, or runs that do not belong into one report."""


@dataclass(frozen=True)
class Run:
    """A complete run.

    Attributes:
        folder: Where it lies: `<experiment>/<task>/<optimizer>/seed_<n>`.
        task: Name of the task.
        optimizer: Its label in the report.
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
        return {key: value for key, value in self.config["optimizer"].items() if key != "name"}

    @property
    def variant(self) -> tuple[str, str, str]:
        """Task, optimizer and settings, to compare runs by."""
        return self.task, self.optimizer, json.dumps(self.settings, sort_keys=True, default=str)


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
    paths = sorted({file.parent.resolve() for folder in folders for file in Path(folder).rglob("config.yaml")})
    where = ", ".join(map(shown, folders))
    if not paths:
        raise ReportError(f"no run folder (one with a config.yaml) in {where}; start one with `bbo-bench run`")
    complete, left_out = [], {}
    for path in paths:
        try:
            complete.append(_read(path))
        except (RecordError, OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
            left_out[path] = str(error) if isinstance(error, RecordError) else f"{type(error).__name__}: {error}"
    if not complete:
        reasons = "\n".join(f"  {shown(path)}: {reason}" for path, reason in left_out.items())
        raise ReportError(f"no complete run in {where}; run them again to resume them:\n{reasons}")
    _check_budgets(complete)
    complete = _labelled(_distinct(complete, left_out), folders)
    return Runs(sorted(complete, key=lambda run: (run.task, run.optimizer, run.seed)), left_out)


def table(runs: Iterable[Run]) -> pd.DataFrame:
    """A row per run and round: task, optimizer, seed and the metrics."""
    return pd.concat([run.metrics.assign(task=run.task, optimizer=run.optimizer, seed=run.seed) for run in runs])


def designs(run: Run) -> dict[str, np.ndarray[Any, Any]] | None:
    """A run's queried and recommended designs, or None where they were not kept."""
    path = run.folder / "designs.npz"
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return dict(arrays)


def flat(settings: Mapping[str, Any], outer: str = "") -> dict[str, str]:
    """Settings by their dotted keys, as Hydra's overrides spell them; without the names of classes."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{outer}{key}.")
        elif not key.startswith("_"):
            found[f"{outer}{key}"] = json.dumps(value).replace(" ", "")
    return found


def _read(folder: Path) -> Run:
    error = folder / "error.txt"
    if error.exists():
        raise RecordError(f"failed: {error.read_text().strip().splitlines()[-1]}")
    if not (folder / "provenance.json").exists():
        raise RecordError("incomplete: no round is committed")
    provenance = json.loads((folder / "provenance.json").read_text())
    if not provenance["complete"]:
        raise RecordError(f"incomplete: {len(provenance['seconds'])} rounds are committed")
    # ledgers and designs may be absent on purpose: reference runs are published without the large ones
    kept = {name: digest for name, digest in provenance["files"].items() if (folder / name).exists()}
    check_files(folder, kept)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    metrics = pd.read_csv(folder / "metrics.csv")
    if "reward_mean" not in metrics:
        raise RecordError("made without an evaluation (budget.evaluation is 0)")
    task, optimizer = config["task"]["name"], config["optimizer"]["name"]
    return Run(folder, task, optimizer, config["seed"], config, metrics, provenance)


def _labelled(runs: list[Run], folders: Sequence[Path]) -> list[Run]:
    """Optimizers of one name and several settings get the names of each setting's experiments beside theirs.

    The settings that alone are in the first of the folders that have the optimizer keep the plain name.

    Raises:
        ReportError: If that does not tell them apart.
    """
    experiments: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    for run in runs:
        experiments[run.variant][run.experiment] = None
    first: dict[tuple[str, str], set[str]] = {}
    for folder in map(Path.resolve, folders):
        here: dict[tuple[str, str], set[str]] = defaultdict(set)
        for task, optimizer, settings in (run.variant for run in runs if run.folder.is_relative_to(folder)):
            here[task, optimizer].add(settings)
        first = here | first
    several = Counter(key[:2] for key in experiments)
    labels = {
        key: f"{key[1]} ({', '.join(names)})"
        for key, names in experiments.items()
        if several[key[:2]] > 1 and first[key[:2]] != {key[2]}
    }
    for (task, label), count in Counter((key[0], label) for key, label in labels.items()).items():
        if count > 1:
            raise ReportError(f"{task}: {label} has {count} settings; report them separately, or rename a folder")
    return [replace(run, optimizer=labels.get(run.variant, run.optimizer)) for run in runs]


def _distinct(runs: list[Run], left_out: dict[Path, str]) -> list[Run]:
    """Without the copies of a run that several experiments share."""
    seen: dict[tuple[tuple[str, str, str], int], Run] = {}
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
        if (other := budgets.setdefault(run.task, run)).budget != run.budget:
            raise ReportError(
                f"{shown(other.folder)} has the budget {other.budget}, {shown(run.folder)} has {run.budget}; "
                "report them separately"
            )
