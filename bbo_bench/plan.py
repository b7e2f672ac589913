"""A run before it is made: its configuration, checked, and its folder."""

from __future__ import annotations

import csv
import inspect
import os
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf

from bbo_bench import loggers
from bbo_bench.plugins import KINDS, RESERVED, Choice, Kind, PluginError, UsageError, suggestion
from bbo_bench.reproducible import STRICT, pin
from bbo_bench.signatures import imported, outline, parameters

if TYPE_CHECKING:
    from bbo_bench.core import Task
    from bbo_bench.loop import Build

CONSTANTS = ("y_prior", "best_known")
"""What is measured of a task, with its settings."""
ISOLATION = ("none", "process")
"""Where an optimizer is: in the task's process, or in one of its own."""
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
        timeout: Seconds that it may take; None for as long as it likes.
        isolation: One of `ISOLATION`.
        loggers: Names of those that are told of every round.
    """

    folder: Path
    config: dict[str, Any]
    timeout: float | None = None
    isolation: str = "none"
    loggers: tuple[str, ...] = ()

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
        values: Any = OmegaConf.to_container(config, resolve=True)
        chosen = {kind: known[kind][names[kind]] for kind in KINDS}
        for kind in KINDS:  # all names before the first import, which takes seconds
            check_names(chosen[kind], values[kind])
        pin(values["reproducible"])  # before anything imports torch, as the next line does
        from bbo_bench.device import resolve

        for kind in KINDS:
            check(chosen[kind], values[kind])
        check_constants(chosen["task"], values["task"])
        for key in ("name", "results"):
            if not values[key]:
                raise ConfigError(f"{key} needs a value, got {config._get_node(key)}, which is {values[key]}")
        if Path(values["name"]).is_absolute() or ".." in Path(values["name"]).parts:
            raise ConfigError(f"name must be a folder below results, got {values['name']}; results= can be anywhere")
        if values["threads"] < 1:
            raise ConfigError(f"threads must be at least 1, got {values['threads']}")
        if values["timeout"] is not None and not values["timeout"] > 0:
            raise ConfigError(f"timeout must be above 0 seconds, or null for none, got {values['timeout']}")
        if values["isolation"] not in ISOLATION:
            raise ConfigError(f"isolation must be one of {', '.join(ISOLATION)}, got {values['isolation']}")
        loggers.check(values["loggers"])
        device = resolve(values["device"])
        strict = {"reproducible": STRICT} if values["reproducible"] == STRICT else {}  # `fast` changes nothing
        if strict and device.type != "cpu":
            raise ConfigError(f"reproducible=strict holds on a CPU alone, got device={device.type}; add device=cpu")
        try:
            _budget(values)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        plugins: dict[str, Any] = {kind: {"name": names[kind], **values[kind]} for kind in KINDS}
        others = {"budget": values["budget"], "seed": None, "device": device.type, "threads": values["threads"]}
        return cls(
            Path(values["results"], values["name"], *(names[kind] for kind in KINDS), "seed"),
            {**plugins, **others, **strict},
            values["timeout"],
            values["isolation"],
            tuple(values["loggers"]),
        ).seeded(values["seed"])

    def seeded(self, seed: int) -> Plan:
        """The same run with another seed.

        Raises:
            ConfigError: If it is below 0.
        """
        if seed < 0:
            raise ConfigError(f"seed must be at least 0, got {seed}")
        return replace(self, folder=self.folder.with_name(f"seed_{seed}"), config={**self.config, "seed": seed})

    def execute(self, position: int = 0) -> None:
        """Make the run, or what is left of it; `position` is the line of its progress bar.

        Raises:
            Exception: Whatever stops the run; its folder keeps the committed rounds and the reason.
        """
        import torch

        from bbo_bench.containment import contained
        from bbo_bench.device import limited_threads
        from bbo_bench.loop import run
        from bbo_bench.record import Record

        with Record(self.folder, self.config) as record:
            if record.complete:
                print(f"{shown(self.folder)} is complete: skipped", flush=True)
                return
            try:
                with (
                    contained(self.timeout),
                    limited_threads(self.config["threads"]),
                    self._built() as build,
                    loggers.told(self.loggers, self.folder, self.config) as told,
                ):
                    run(
                        self.task(),
                        build,
                        budget=_budget(self.config),
                        seed=self.config["seed"],
                        device=torch.device(self.config["device"]),
                        record=record,
                        position=position,
                        loggers=told,
                    )
            except Exception as error:
                with suppress(OSError):  # a full disk may be the very reason; the error itself goes on
                    record.fail(error)
                raise

    def task(self) -> Task:
        """The task, built."""
        task: Task = instantiate(self._settings("task"), _convert_="all")
        return task

    def build(self) -> Build:
        """What builds the optimizer."""
        build: Build = instantiate(self._settings("optimizer"), _convert_="all", _partial_=True)
        return build

    def _built(self) -> AbstractContextManager[Build]:
        if self.isolation == "none":
            return nullcontext(self.build())
        from bbo_bench.apart import apart

        return apart(self._settings("optimizer"), self.config["threads"])

    def outcome(self) -> str:
        """What the complete run has come to, in one line: its last row of metrics."""
        with (self.folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            *_, row = csv.DictReader(file)
        names = {"mean": "reward_mean", "validity": "validity", "best": "best"}
        known = [f"{name} {float(row[key]):.3g}" for name, key in names.items() if row.get(key)]
        numbers = ", ".join(known) or "complete"  # without evaluation there are none
        report = shlex.join(["bbo-bench", "report", shown(self.folder.parents[2])])
        return f"{shown(self.folder)}: {numbers} after {row['queries']} queries; {report}"

    def _settings(self, kind: Kind) -> dict[str, Any]:
        return {key: value for key, value in self.config[kind].items() if key != "name"}


def check(choice: Choice, settings: Mapping[str, Any]) -> None:
    """Raise `PluginError` unless the plugin can be imported and its constructor takes these settings."""
    check_names(choice, settings)
    _check_target(_label(choice), settings, SUPPLIED[choice.kind], _imported)


def check_names(choice: Choice, settings: Mapping[str, Any]) -> None:
    """Raise `PluginError` where the plugin's text shows that it does not take these settings. Nothing is imported."""
    label = _label(choice)
    if choice.missing:
        raise PluginError(f"{label} needs {', '.join(choice.missing)}, not installed here; {choice.remedy}")
    if blank := [key for key in choice.blank if settings.get(key.partition(".")[2]) == MISSING]:
        raise PluginError(f"{label} has no default for {' and '.join(blank)}: give it, as {blank[0]}=")
    _check_reserved(choice, settings)
    _check_target(label, settings, SUPPLIED[choice.kind], lambda _, target: outline(target))
    numbers = _numbers(str(settings.get("_target_")))
    for key, value in settings.items():
        if isinstance(choice.settings.get(key), int | float) and isinstance(value, str):
            raise PluginError(f"{label}: {key} must be a number like {choice.settings[key]}, got {value!r}")
        if key in numbers and isinstance(value, str):
            raise PluginError(f"{label}: {key} must be a number or null, got {value!r}")
        if isinstance(inner := choice.settings.get(key), Mapping) and isinstance(value, str):
            example = next((f", like {choice.kind}.{key}.{each}=" for each in inner if each[0] != "_"), "")
            raise PluginError(f"{label}: {key} must be null, or have settings of its own{example}; got {value!r}")


def _numbers(target: str) -> set[str]:
    """Settings that a plugin's text says are numbers, if not null."""
    found = outline(target)
    shown = [] if found is None else parameters(found)
    return {each.name for each in shown if re.fullmatch(r"(float|int)( \| None)?", str(each.annotation))}


def check_constants(choice: Choice, settings: Mapping[str, Any]) -> None:
    """Raise `ConfigError` if a task's settings differ from its YAML, and the constants that were measured there do not.

    `noise_std` moves no true score; what else does not, and which constants hold for all settings, the YAML's
    `neutral` says.
    """
    free = {"noise_std", *CONSTANTS, *choice.neutral}
    moved = [f"task.{key}={value}" for key, value in settings.items() if value != choice.settings.get(key)]
    changed = [each for each in moved if each[len("task.") :].partition("=")[0] not in free]
    stale = [key for key in CONSTANTS if key in choice.settings and settings.get(key) == choice.settings[key]]
    if stale := [key for key in stale if changed and key not in choice.neutral]:
        raise ConfigError(
            f"{' and '.join(changed)} makes another black box, for which {' and '.join(stale)} of {choice.name} "
            f"{'were' if len(stale) > 1 else 'was'} not measured; measure by `bbo-bench card task={choice.name} "
            f"{shlex.join(changed)}` and give {' '.join(f'task.{key}=' for key in stale)}; "
            "where one stays the same, a variant in a YAML of its own says so"
        )


def takes(target: str, key: str) -> bool:
    """Whether the class that a `_target_` names takes a setting of that name."""
    try:
        return key in {p.name for p in parameters(outline(target) or _imported("it", target))}
    except PluginError:
        return False


def reason(error: BaseException) -> str:
    """What stopped a run, in one line; several pairs that cannot work have a line each."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ConfigError):
        return str(error)
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


def _label(choice: Choice) -> str:
    return f"{choice.kind} {choice.name}"


def _check_reserved(choice: Choice, settings: Mapping[str, Any]) -> None:
    """Raise `PluginError` where a setting has a name that the suite, YAML or Hydra gives another meaning."""
    label = _label(choice)
    if settings["_target_"] != choice.settings["_target_"]:
        raise PluginError(f"{label}: _target_ is the plugin's own; choose another class by {choice.kind}=NAME")
    words = [key for key in settings if key in RESERVED or key in ("_partial_", "_args_", "_convert_")]
    target = outline(choice.settings["_target_"])
    taken = parameters(target) if target is not None else []
    supplied = {p.name for p in taken[: SUPPLIED[choice.kind]]}
    words += [p.name for p in taken[SUPPLIED[choice.kind] :] if p.name in RESERVED]
    words += [key for key in settings if key in supplied]
    if words:
        raise PluginError(
            f"{label}: no setting may be called {words[0]}, which the suite uses itself; rename the argument of the "
            f"constructor ({', '.join([*RESERVED, *supplied])} are reserved)"
        )


def _check_target(label: str, settings: Mapping[str, Any], supplied: int, look: Callable[[str, str], Any]) -> None:
    """Raise `PluginError` unless what `look` finds takes the settings; where it finds None, nothing is known."""
    target = look(label, settings["_target_"])
    if target is not None:
        _check_keys(label, settings, parameters(target)[supplied:])
    for key, value in settings.items():
        if isinstance(value, Mapping) and "_target_" in value:
            _check_target(f"{label}, {key},", value, 0, look)


def _check_keys(label: str, settings: Mapping[str, Any], taken: list[inspect.Parameter]) -> None:
    named = {p.name: p for p in taken if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    keys = {key for key in settings if not (key.startswith("_") and key.endswith("_"))}
    unknown = [] if any(p.kind is p.VAR_KEYWORD for p in taken) else sorted(keys - named.keys())
    if unknown:
        raise PluginError(f"{label} has no setting {unknown[0]}; {suggestion(unknown[0], named)}")
    for key in keys & named.keys():
        value = settings[key]
        if named[key].annotation in (int, "int") and isinstance(value, float) and not value.is_integer():
            raise PluginError(f"{label}: {key} must be a whole number, got {value}")
    absent = sorted(name for name, p in named.items() if p.default is p.empty and name not in keys)
    if absent and not settings.get("_partial_"):
        raise PluginError(f"{label} needs a value for {', '.join(absent)}; add it to the YAML or set it with +")


def _imported(label: str, target: str) -> Any:
    try:
        return imported(target)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{label} cannot be imported: {target} raised {type(error).__name__}: {error}") from error
