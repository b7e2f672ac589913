"""Discovery of tasks and optimizers. It reads YAML and imports no plugin."""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from omegaconf import MISSING

Kind = Literal["task", "optimizer"]
KINDS: tuple[Kind, ...] = get_args(Kind)
VARIABLE = "BBO_BENCH_PLUGINS"
"""Environment variable: folders that hold `tasks/` or `optimizers/`, separated as in `$PATH`."""
METADATA = ("summary", "requires", "extra", "quick", "search", "neutral", "labels")
"""Keys of a choice's YAML that describe it; its constructor does not see them."""
RESERVED = ("name", "defaults", *METADATA)
"""Words that no setting may be called: a run's record keeps the plugin's name with its settings, YAML its metadata."""


class UsageError(RuntimeError):
    """What was asked for cannot be done; nothing has been started."""


class PluginError(UsageError):
    """A plugin cannot be used; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Choice:
    """One choice in Hydra's group `task` or `optimizer`.

    Attributes:
        kind: The group.
        name: The stem of its file.
        file: Its YAML.
        settings: What its constructor gets, and `_target_`; a variant's bases are merged in.
        summary: One line.
        requires: Modules that must be importable.
        extra: The extra of this distribution that installs them.
        quick: Settings that differ when the conformance suite tries it, for a costly method.
        search: What tuning draws settings from: `[log, low, high]`, `[uniform, low, high]` or `[choice, ...]` by key.
        neutral: Of a task: settings that no true score depends on, and constants that hold whatever the settings are.
        labels: Of a task: what figures and tables call its own metrics.
    """

    kind: Kind
    name: str
    file: Path
    settings: dict[str, Any]
    summary: str = ""
    requires: tuple[str, ...] = ()
    extra: str | None = None
    quick: dict[str, Any] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    neutral: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Required modules that are not installed."""
        return [module for module in self.requires if find_spec(module.partition(".")[0]) is None]

    @property
    def blank(self) -> list[str]:
        """Settings that have no default, `???` in the YAML: where weights of one's own lie, say."""
        return [f"{self.kind}.{key}" for key, value in self.settings.items() if value == MISSING]

    @property
    def remedy(self) -> str:
        """The command that installs what is missing."""
        return "pip install " + (f'"bbo-bench[{self.extra}]"' if self.extra else " ".join(self.missing))


def choices(kind: Kind) -> dict[str, Choice]:
    """All choices of a kind by name, sorted.

    Raises:
        PluginError: If two plugins share a name, a file cannot be read, or a variant's base is unknown.
    """
    read = {file: _load(file) for folder in _folders(kind) for file in sorted(folder.glob("*.yaml"))}
    files = _unique(kind, (file for file, node in read.items() if _is_choice(node)))
    nodes = {name: read[file] for name, file in sorted(files.items())}
    return {name: _choice(kind, name, files, nodes) for name in nodes}


def find(kind: Kind, name: str) -> Choice:
    """The choice of that name.

    Raises:
        PluginError: If there is none; names the closest ones.
    """
    known = choices(kind)
    if name not in known:
        raise PluginError(unknown(kind, name, known))
    return known[name]


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message that no plugin has this name, with where one's own are looked for if that is nowhere."""
    unset = "" if os.environ.get(VARIABLE) else f" (${VARIABLE}, the folders with plugins of your own, is not set)"
    return f"there is no {kind} named {name!r}{unset}; {suggestion(name, known)}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean ...?` where something known is close, else all that is known."""
    known = sorted(known)
    alike = {each: difflib.SequenceMatcher(None, each, word).ratio() for each in known}
    least = max(0.55, max(alike.values(), default=0.0) - 0.2)
    close = [each for each in difflib.get_close_matches(word, known, cutoff=0.55) if alike[each] >= least]
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known) or 'none'}"


def local_folders(kind: Kind) -> list[str]:
    """The folders of a kind under every path on `$BBO_BENCH_PLUGINS`."""
    roots = [Path(path).expanduser() for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    return [str(folder) for root in roots if (folder := root.resolve() / f"{kind}s").is_dir()]


def _folders(kind: Kind) -> Iterator[Path]:
    """Every plugin's folder."""
    for path in os.environ.get(VARIABLE, "").split(os.pathsep):
        if path and not any((Path(path).expanduser() / f"{each}s").is_dir() for each in KINDS):
            raise PluginError(f"${VARIABLE} names {path}, which has neither a folder tasks/ nor optimizers/")
    spec = find_spec(f"bbo_bench.{kind}s")
    shipped = list(spec.submodule_search_locations or ()) if spec else []
    folders = dict.fromkeys(Path(root).resolve() for root in [*shipped, *local_folders(kind)])
    for file in (file for root in folders for file in sorted(root.glob("*/*.yaml"))):
        if not file.with_name("__init__.py").exists() and _is_choice(_load(file)):
            raise PluginError(
                f"{file.parent} has {file.name}, but no __init__.py; a plugin is a Python package, so add one"
            )
    yield from _unique(kind, (init.parent for root in folders for init in sorted(root.glob("*/__init__.py")))).values()
    for entry in entry_points(group=f"bbo_bench.{kind}s"):
        yield _installed(entry.value)


def _installed(package: str) -> Path:
    """The folder of an installed package, found without importing it or its parents."""
    top, *rest = package.split(".")
    spec = find_spec(top)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(location, *rest)).is_dir():
            return folder
    raise PluginError(f"an entry point names the package {package}, which has no folder; reinstall its distribution")


def _unique(kind: Kind, paths: Iterable[Path]) -> dict[str, Path]:
    """Paths by stem.

    Raises:
        PluginError: If two share one; names both.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if (other := found.setdefault(path.stem, path)) != path:
            raise PluginError(f"two {kind}s are named {path.stem}: {other} and {path}; rename one")
    return found


def _load(file: Path) -> dict[str, Any]:
    try:
        node = copy.deepcopy(_parsed(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PluginError(f"{file} cannot be read: {error}") from error
    return {str(key): value for key, value in node.items()} if isinstance(node, dict) else {}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads what Hydra's reader does, at a tenth of the time: 1e-3 is a number, a date is text, no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See `yaml.SafeLoader`."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", node.start_mark)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$"), list("-+0123456789.")
)


@cache
def _parsed(text: str) -> Any:
    """The content of a YAML file, parsed once, as that takes longer than all else here."""
    return yaml.load(text, _Loader)


def _is_choice(node: dict[str, Any]) -> bool:
    return "_target_" in node or "defaults" in node


def _choice(kind: Kind, name: str, files: dict[str, Path], nodes: dict[str, dict[str, Any]]) -> Choice:
    merged = _merge(kind, (name,), files, nodes)
    if "_target_" not in merged:
        raise PluginError(f"{files[name]} has no _target_: name the class that it configures, or a base that does")
    return Choice(
        kind=kind,
        name=name,
        file=files[name],
        settings={key: value for key, value in merged.items() if key not in METADATA},
        summary=str(merged.get("summary", "")),
        requires=tuple(merged.get("requires", ())),
        extra=merged.get("extra"),
        quick=merged.get("quick", {}),
        search=merged.get("search") or {},
        neutral=tuple(merged.get("neutral", ())),
        labels=merged.get("labels") or {},
    )


def _merge(
    kind: Kind, chain: tuple[str, ...], files: dict[str, Path], nodes: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The node of the last name in `chain`, over the nodes that its `defaults` name."""
    node = dict(nodes[chain[-1]])
    layers = []
    defaults = node.pop("defaults", [])
    for base in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        if base != "_self_" and (base not in nodes or base in chain):
            raise PluginError(
                f"{files[chain[-1]]}: defaults names {base!r}, which is no other {kind}; {suggestion(str(base), nodes)}"
            )
        layers.append(node if base == "_self_" else _merge(kind, (*chain, base), files, nodes))
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = {**merged, **{key: _over(merged.get(key), value) for key, value in layer.items()}}
    if inherited := merged.get("search"):
        merged["search"] = node.get("search") or {
            key: at for key, at in inherited.items() if not any(_sets(node, layer, key) for layer in layers)
        }
    return {str(key): value for key, value in merged.items()}


def _over(base: Any, value: Any) -> Any:
    """A setting in the place of a base's: mappings are joined, but not those that configure two classes."""
    if not (isinstance(base, dict) and isinstance(value, dict)) or _other_class(base, value):
        return value
    return {**base, **{key: _over(base.get(key), inner) for key, inner in value.items()}}


def _other_class(base: dict[str, Any], value: dict[str, Any]) -> bool:
    return "_target_" in base and "_target_" in value and base["_target_"] != value["_target_"]


def _sets(node: Any, base: Any, key: str) -> bool:
    """Whether a YAML's node says something of a base's setting, `training.learning_rate` for instance."""
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node, base = node[part], base.get(part) if isinstance(base, dict) else None
        if isinstance(node, dict) and isinstance(base, dict) and _other_class(base, node):
            return True
    return True
