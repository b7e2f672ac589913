"""A run before it is made: its configuration, checked, and its folder."""

from __future__ import annotations

import csv
import importlib
import inspect
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from bbo_bench.plugins import KINDS, Choice, Kind, PluginError, UsageError, suggestion
from bbo_bench.reproducible import STRICT, pin

SUPPLIED = {"task": 0, "optimizer": 2}
"""How many leading arguments of a constructor the suite supplies: the problem and the generator."""


class ConfigError(UsageError):
    """A run's configuration is wrong."""


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        folder: `results/<name>/<task>/<optimizer>/seed_<n>`.
        config: All that its outcome depends on, resolved; this is what the run's folder records.
    """

    folder: Path
    config: dict[str, Any]

    @classmethod
    def of(cls, config: DictConfig, names: Mapping[str, str], known: Mapping[Kind, Mapping[str, Choice]]) -> Plan:
        """The run that a composed configuration describes.

        Args:
            config: The composed configuration.
            names: The name chosen in each of Hydra's groups.
            known: All choices of each kind.

        Raises:
            UsageError: If a number, the device or the budget makes no sense, a plugin cannot be imported, or it does
                not take its settings.
        """
        values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        pin(values["reproducible"])  # before anything imports torch, as the next line does
        from bbo_bench.device import resolve

        for kind in KINDS:
            check(known[kind][names[kind]], values[kind])
        seed, threads = values["seed"], values["threads"]
        if seed < 0 or threads < 1:
            raise ConfigError(f"seed must be at least 0 and threads at least 1, got seed={seed}, threads={threads}")
        device = resolve(values["device"])
        strict = {"reproducible": STRICT} if values["reproducible"] == STRICT else {}  # `fast` changes nothing
        if strict and device.type != "cpu":
            raise ConfigError(f"reproducible=strict holds on a CPU alone, got device={device.type}; add device=cpu")
        try:
            _budget(values)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        folder = Path(values["results"], values["name"], *(names[kind] for kind in KINDS), f"seed_{seed}")
        plugins: dict[str, Any] = {kind: {"name": names[kind], **values[kind]} for kind in KINDS}
        return cls(
            folder,
            {
                **plugins,
                "budget": values["budget"],
                "seed": seed,
                "device": device.type,
                "threads": threads,
                **strict,
            },
        )

    def execute(self, position: int = 0) -> None:
        """Make the run, or what is left of it; `position` is the line of its progress bar.

        Raises:
            Exception: Whatever stops the run; its folder keeps the committed rounds and the reason.
        """
        import torch

        from bbo_bench.device import limited_threads
        from bbo_bench.loop import run
        from bbo_bench.record import Record

        with Record(self.folder, self.config) as record:
            if record.complete:
                print(f"{shown(self.folder)} is complete: skipped", flush=True)
                return
            try:
                with limited_threads(self.config["threads"]):
                    task = instantiate(self._settings("task"), _convert_="all")
                    build = instantiate(self._settings("optimizer"), _convert_="all", _partial_=True)
                    run(
                        task,
                        build,
                        budget=_budget(self.config),
                        seed=self.config["seed"],
                        device=torch.device(self.config["device"]),
                        record=record,
                        position=position,
                    )
            except Exception as error:
                with suppress(OSError):  # a full disk may be the very reason; the error itself goes on
                    record.fail(error)
                raise

    def outcome(self) -> str:
        """What the complete run has come to, in one line: its last row of metrics."""
        with (self.folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            *_, row = csv.DictReader(file)
        names = {"mean": "reward_mean", "validity": "validity", "best": "best"}
        known = [f"{name} {float(row[key]):.3g}" for name, key in names.items() if row.get(key)]
        numbers = ", ".join(known) or "complete"  # without evaluation there are none
        report = f"bbo-bench report {shown(self.folder.parents[2])}"
        return f"{shown(self.folder)}: {numbers} after {row['queries']} queries; {report}"

    def _settings(self, kind: Kind) -> dict[str, Any]:
        return {key: value for key, value in self.config[kind].items() if key != "name"}


def check(choice: Choice, settings: Mapping[str, Any]) -> None:
    """Raise `PluginError` unless the plugin can be imported and its constructor takes these settings."""
    label = f"{choice.kind} {choice.name}"
    if choice.missing:
        raise PluginError(f"{label} needs {', '.join(choice.missing)}, not installed here; {choice.remedy}")
    _check_target(label, settings, SUPPLIED[choice.kind])
    for key, value in settings.items():
        if isinstance(choice.settings.get(key), int | float) and isinstance(value, str):
            raise PluginError(f"{label}: {key} must be a number like {choice.settings[key]}, got {value!r}")
        if isinstance(inner := choice.settings.get(key), Mapping) and isinstance(value, str):
            example = next((f", like {choice.kind}.{key}.{each}=" for each in inner if each[0] != "_"), "")
            raise PluginError(f"{label}: {key} must be null, or have settings of its own{example}; got {value!r}")


def takes(target: str, key: str) -> bool:
    """Whether the class that a `_target_` names takes a setting of that name."""
    try:
        return key in {p.name for p in _parameters(_imported("it", target))}
    except PluginError:
        return False


def reason(error: BaseException) -> str:
    """What stopped a run, in one line."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    return text if isinstance(error, UsageError) else f"{type(error).__name__}: {text}"


def shown(folder: Path) -> str:
    """A folder as one would type it."""
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative


def _budget(values: Mapping[str, Any]) -> Any:
    from bbo_bench.loop import Budget

    budget = values["budget"]
    return Budget(tuple(budget["rounds"]), budget["evaluation"], budget["validation"])


def _check_target(label: str, settings: Mapping[str, Any], supplied: int) -> None:
    parameters = _parameters(_imported(label, settings["_target_"]))[supplied:]
    named = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    keys = {key for key in settings if not (key.startswith("_") and key.endswith("_"))}
    unknown = [] if any(p.kind is p.VAR_KEYWORD for p in parameters) else sorted(keys - named.keys())
    if unknown:
        raise PluginError(f"{label} has no setting {unknown[0]}; {suggestion(unknown[0], named)}")
    absent = sorted(name for name, p in named.items() if p.default is p.empty and name not in keys)
    if absent and not settings.get("_partial_"):
        raise PluginError(f"{label} needs a value for {', '.join(absent)}; add it to the YAML or set it with +")
    for key, value in settings.items():
        if isinstance(value, Mapping) and "_target_" in value:
            _check_target(f"{label}, {key},", value, 0)


def _parameters(target: Any) -> list[inspect.Parameter]:
    """What a function or a class takes; what its constructor passes on by `**` is what the next base class takes."""
    if not inspect.isclass(target):
        return list(inspect.signature(target).parameters.values())
    found: dict[str, inspect.Parameter] = {}
    for base in target.__mro__:
        if "__init__" not in vars(base):
            continue
        own = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        found |= {p.name: p for p in own if p.name not in found and p.kind is not p.VAR_KEYWORD}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return list(found.values())


def _imported(label: str, target: str) -> Any:
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        raise PluginError(f"{label} cannot be imported: {target} raised {type(error).__name__}: {error}") from error
