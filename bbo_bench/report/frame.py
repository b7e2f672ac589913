"""The numbers of runs as one tidy table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bbo_bench.report.labels import Flat, flat, unnamed
from bbo_bench.report.runs import Run, read_runs

PLUGINS = ("task", "optimizer")


def load_results(*folders: str | os.PathLike[str]) -> pd.DataFrame:
    """A row per complete run in or below `folders` and per round, sorted by task, optimizer, seed and round.

    Columns: `task` and `optimizer` as reports label them, which say in what they differ from their YAML, so that a
    group of one `task` and `optimizer` never pools what differs; `method`, the optimizer's plain name; `seed`,
    `experiment`, `folder`; `round` and the `queries` until its end; metrics, their `*_reference` values of real
    designs, `diagnostics.*`; and every setting in which the runs differ, as `optimizer.kl_weight` or `task.dim`
    (missing where a run has none). Folders that are left out are in `frame.attrs["left_out"]`, with the reasons.

    >>> from bbo_bench import load_results
    >>> frame = load_results("results/control_passes")
    >>> last = frame[(frame["round"] == 3) & (frame["method"] == "sequential")]
    >>> last.groupby("optimizer.passes")["reward_mean"].agg(["count", "mean"]).round(2)
                      count   mean
    optimizer.passes
    1                     5  10.21
    2                     5  10.14
    3                     5   9.94

    Raises:
        ReportError: If no run is complete, or two outcomes of one run differ.
    """
    runs = read_runs([Path(folder) for folder in folders])
    found = frame(runs.complete)
    found.attrs["left_out"] = {str(folder): reason for folder, reason in runs.left_out.items()}
    return found


def frame(runs: Iterable[Run]) -> pd.DataFrame:
    """The same of runs that have been read."""
    runs = list(runs)
    whole = pd.concat([run.metrics for run in runs], ignore_index=True)
    keys = pd.DataFrame([_keys(run) for run in runs])
    settings = pd.DataFrame([_settings(run) for run in runs])
    differing = settings.loc[:, settings.nunique(dropna=False) > 1].map(_read)
    about = pd.concat([keys, differing], axis=1)
    lengths = [len(run.metrics) for run in runs]
    repeated = about.loc[about.index.repeat(lengths)].reset_index(drop=True)
    return pd.concat([repeated[keys.columns], whole, repeated[differing.columns]], axis=1)


def _keys(run: Run) -> dict[str, object]:
    method = run.config["optimizer"]["name"]
    keys = {"task": run.task, "optimizer": run.optimizer, "method": method, "seed": run.seed}
    return keys | {"experiment": run.experiment, "folder": str(run.folder)}


def _settings(run: Run) -> Flat:
    plugins = {kind: unnamed(run.config[kind]) for kind in PLUGINS}
    return flat({**plugins, **{key: value for key, value in run.config.items() if key not in (*PLUGINS, "seed")}})


def _read(text: object) -> object:
    """A setting's value: numbers and words as such, what has parts as JSON."""
    value = json.loads(text) if isinstance(text, str) else None
    return text if isinstance(value, list | dict) else value
