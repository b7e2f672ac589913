"""The commands that make runs anew, in Hydra's words."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

import bbo_bench
from bbo_bench.plugins import KINDS
from bbo_bench.report.labels import Flat, flat, unnamed, usual
from bbo_bench.report.runs import Run

PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
RESERVED = ("null", "true", "false", "nan", "inf")


def commands(runs: Iterable[Run]) -> list[str]:
    """A sweep for each experiment and change of defaults that makes its runs, and no others.

    Settings that a YAML has got since a run was made are not named: the run's commit has none.
    """
    known = {kind: usual(kind) for kind in KINDS}
    config = yaml.safe_load((Path(bbo_bench.__file__).parent / "conf" / "config.yaml").read_text(encoding="utf-8"))
    changes: dict[str, list[str]] = {}
    sweeps: dict[tuple[str, tuple[str, ...]], list[Run]] = defaultdict(list)
    for run in runs:
        if run.variant not in changes:
            plugins = [_plugin(run, kind, known[kind]) for kind in KINDS]
            budget = [f"budget.{key}={spelled(value)}" for key, value in run.config["budget"].items()]
            changes[run.variant] = [*budget, *(word for words in plugins for word in words)]
        shared = [f"{key}={spelled(value)}" for key, value in run.shared.items() if config.get(key) != value]
        sweeps[run.experiment, (*changes[run.variant], *shared)].append(run)
    return [
        shlex.join(["bbo-bench", "run", "-m", f"name={spelled(experiment)}", *chosen, *words])
        for (experiment, words), each in sweeps.items()
        for chosen in _products(each)
    ]


def spelled(value: Any) -> str:
    """A value as the grammar of Hydra's overrides has it."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{spelled(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(spelled, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value).replace("Infinity", "inf").replace("NaN", "nan")
    if PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    quoted = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"'{quoted}'"


def _plugin(run: Run, kind: str, known: Mapping[str, Flat]) -> Iterable[str]:
    """The overrides that lead from the plugin's YAML to the run's settings."""
    plugin = run.config[kind]
    yield from _overrides(kind, unnamed(plugin), known.get(plugin["name"]))


def _overrides(outer: str, settings: Mapping[str, Any], usual: Flat | None) -> Iterable[str]:
    if usual is None:  # not installed here: where it is, its YAML says more
        return
    for key, value in settings.items():
        own = flat({key: value})
        if all(usual.get(each) == text for each, text in own.items()):
            continue
        inner = {each.removeprefix(f"{key}."): text for each, text in usual.items() if each.startswith(f"{key}.")}
        if isinstance(value, Mapping) and inner:
            yield from _overrides(f"{outer}.{key}", value, inner)
        else:
            yield f"{'' if key in usual or inner else '+'}{outer}.{key}={spelled(value)}"


def _products(runs: Iterable[Run]) -> Iterable[list[str]]:
    """Choices of tasks, optimizers and seeds whose products are the runs, each once."""
    seeds: dict[tuple[str, str], set[int]] = defaultdict(set)
    for run in runs:
        seeds[run.config["task"]["name"], run.config["optimizer"]["name"]].add(run.seed)
    optimizers: dict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    for (task, optimizer), each in seeds.items():
        optimizers[task, tuple(sorted(each))].append(optimizer)
    tasks: dict[tuple[tuple[str, ...], tuple[int, ...]], list[str]] = defaultdict(list)
    for (task, each_seed), names in optimizers.items():
        tasks[tuple(names), each_seed].append(task)
    for (together, each_seed), where in tasks.items():
        chosen = {"task": where, "optimizer": together, "seed": map(str, each_seed)}
        yield [f"{key}={','.join(values)}" for key, values in chosen.items()]
