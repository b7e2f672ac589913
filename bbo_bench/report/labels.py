"""Names of rows and sections, which say in what a configuration differs, so that no two are pooled under one name."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from bbo_bench.plugins import VARIABLE, Kind, choices

Settings = Mapping[str, Any]
Flat = dict[str, str]
TARGET = "_target_"


class LabelError(RuntimeError):
    """Two configurations that differ have one label."""


def flat(settings: Settings, outer: str = "") -> Flat:
    """Settings by their dotted keys, with their values as JSON."""
    found: Flat = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{outer}{key}.")
        else:
            found[f"{outer}{key}"] = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), default=str)
    return found


def _plain(value: Any) -> Any:
    """Numbers by their values: 4 and 4.0 are one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def unnamed(plugin: Settings) -> dict[str, Any]:
    """A plugin's settings without its name."""
    return {key: value for key, value in plugin.items() if key != "name"}


def identity(plugin: Settings) -> str:
    """The same for two configurations of a plugin if and only if they are."""
    return json.dumps(_plain(plugin), sort_keys=True, default=str)


def usual(kind: Kind) -> dict[str, Flat]:
    """The settings in the YAML of every plugin that is installed."""
    return _usual(kind, os.environ.get(VARIABLE))


@cache
def _usual(kind: Kind, folders: str | None) -> dict[str, Flat]:
    """The same; a report asks three times, and reading takes a second."""
    return {name: flat(choice.settings) for name, choice in choices(kind).items()}


def labels(kind: Kind, plugins: Iterable[Settings]) -> dict[str, str]:
    """A label by the `identity` of each configuration: the plugin's name, with the settings that differ.

    What differs is what the plugin's YAML has otherwise, whichever other configurations there are, so that a label
    stays when a report gets more runs. A setting that the YAML has and the configuration lacks, as it was made before,
    is named only where another configuration has it. Of a plugin that is not installed, all that differs is named.

    Raises:
        LabelError: If two configurations get one label.
    """
    variants: dict[str, dict[str, Flat]] = defaultdict(dict)
    for plugin in plugins:
        if (key := identity(plugin)) not in variants[plugin["name"]]:
            variants[plugin["name"]][key] = flat(unnamed(plugin))
    known = usual(kind)
    found: dict[str, str] = {}
    for name, each in variants.items():
        shared = dict(set.intersection(*(set(settings.items()) for settings in each.values())))
        keys = dict.fromkeys(key for settings in each.values() for key in settings)
        differing = [key for key in keys if key not in shared]
        for key, settings in each.items():
            words = [*_changed(settings, known.get(name, shared), differing)]
            words += _lacking(settings, known.get(name, {}), differing)
            found[key] = f"{name} ({', '.join(words)})" if words else name
    for label, count in Counter(found.values()).items():
        if count > 1:
            raise LabelError(f"{label} has {count} configurations that differ; report them separately")
    return found


def _changed(settings: Flat, usual: Flat, differing: Iterable[str]) -> Iterable[str]:
    for key, value in settings.items():
        moved = key == TARGET and key not in differing  # a class may have moved since
        if usual.get(key) != value and not moved:
            yield _word(key, value)


def _lacking(settings: Flat, usual: Flat, differing: Iterable[str]) -> Iterable[str]:
    for key in differing:
        replaced = any(key.startswith(f"{each}.") or each.startswith(f"{key}.") for each in settings)
        if key in usual and key not in settings and not replaced:
            yield f"no {key}"


def _word(key: str, value: str) -> str:
    """A setting as one says it: a class by its own name, under the key of what it makes."""
    plain = value.strip('"')
    if key.endswith(f".{TARGET}"):
        return f"{key.removesuffix(f'.{TARGET}')}={plain.rpartition('.')[2]}"
    return f"{key}={plain}"
