"""Plugins of recorded runs. What a results folder says is data: it chooses among what is installed, no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bbo_bench.core import Task
from bbo_bench.plan import check, reason
from bbo_bench.plugins import PluginError, UsageError, find


def recorded_task(config: Mapping[str, Any]) -> Task:
    """The installed task that a run's record names, with the settings that are recorded there.

    Args:
        config: The part `task` of a run's `config.yaml`.

    Raises:
        PluginError: If no such task is installed, it does not take the settings, they name other classes than its YAML
            does, or it cannot be built.
    """
    from hydra.utils import instantiate

    choice = find("task", str(config.get("name")))
    settings = {key: value for key, value in config.items() if key != "name"}
    if foreign := next(_foreign(settings, choice.settings), None):
        raise PluginError(f"the record of task {choice.name} has {foreign}, which its YAML has not; nothing is built")
    check(choice, settings)
    try:
        task: Task = instantiate(settings, _convert_="all")
    except UsageError:
        raise
    except Exception as error:
        raise PluginError(f"task {choice.name} cannot be built: {reason(error)}") from error
    return task


def _foreign(node: Any, ours: Any, path: str = "") -> Iterator[str]:
    """What a node says of classes and of how they are built, or refers to, where `ours` does not say the same."""
    if isinstance(node, Mapping):
        known = ours if isinstance(ours, Mapping) else {}
        for key in node.keys() | known.keys():
            inner = f"{path}.{key}" if path else str(key)
            if not str(key).startswith("_"):
                yield from _foreign(node.get(key), known.get(key), inner)
            elif node.get(key) != known.get(key):
                yield f"{inner}={node.get(key)}"
    elif isinstance(node, list | tuple):
        known_parts = ours if isinstance(ours, list) else []
        for i, each in enumerate(node):
            yield from _foreign(each, known_parts[i] if i < len(known_parts) else None, f"{path}[{i}]")
    elif isinstance(node, str) and "${" in node and node != ours:
        yield f"{path}={node}"
    elif node is not None and not isinstance(node, str | int | float):
        yield f"{path} of type {type(node).__name__}"
