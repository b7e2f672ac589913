"""What an object can reach: the walk that proves that no optimizer holds a way to the scores."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

OPAQUE = (ModuleType, type, CodeType)
"""Not entered: from a module everything that is imported can be reached, which is no secret of a run."""


def reachable(root: object) -> Iterator[tuple[str, object]]:
    """Every object that `root` refers to, through instances, containers, closures and defaults, each with a path.

    Classes, modules and the globals of functions are not entered.
    """
    seen = {id(root)}
    queue: list[tuple[str, object]] = [(type(root).__name__, root)]
    while queue:
        path, each = queue.pop()
        yield path, each
        for child in _referents(each):
            if id(child) not in seen and not isinstance(child, OPAQUE):
                seen.add(id(child))
                queue.append((f"{path} > {type(child).__name__}", child))


def _referents(each: object) -> list[Any]:
    if isinstance(each, FunctionType):
        return [*(each.__closure__ or ()), each.__defaults__, each.__kwdefaults__, each.__dict__]
    return gc.get_referents(each)
