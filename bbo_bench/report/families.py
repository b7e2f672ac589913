"""Optimizers that are one method with several KL weights."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from bbo_bench.report.runs import Run
from bbo_bench.report.style import GROUP_OF, SWEPT, rank

KL_WEIGHT = "kl_weight"
WORD = re.compile(rf"(?<=[( ]){KL_WEIGHT}=[^,)]*(, )?")
"""What a label says of the KL weight."""
Families = Mapping[str, Mapping[str, float]]
"""By the base's name: the optimizers and their KL weights."""


def families(runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    """Optimizers that differ in their KL weight alone, with their weights, ascending, under the base's name.

    The base is that of them whose name all others continue; where none is, what is left of a name without its weight.
    Others are alone, their weight NaN where they have none.
    """
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    for run in {run.optimizer: run for run in runs}.values():
        rest = {key: value for key, value in run.settings.items() if key != KL_WEIGHT}
        found = run.settings.get(KL_WEIGHT)
        weight = float(found) if isinstance(found, int | float) else math.nan
        alone = run.optimizer if math.isnan(weight) else None
        groups[json.dumps([alone, rest], sort_keys=True, default=str)][run.optimizer] = weight
    named: dict[str, dict[str, float]] = {}
    for group in sorted(groups.values(), key=lambda group: _base(group) not in group):
        base = _base(group)
        named |= {name: {name: weight} for name, weight in group.items()} if base in named else {base: _sorted(group)}
    return {base: named[base] for base in sorted(named, key=rank)}


def order(kinships: Families) -> list[str]:
    """All optimizers by group and method, each base before its variants."""
    return [name for base, group in kinships.items() for name in sorted(group, key=lambda name: name != base)]


def distinct(kinships: Families) -> list[str]:
    """The optimizers to show beside each other: the base of each family, or all of a family whose base was not run."""
    return [name for base, group in kinships.items() for name in ([base] if base in group else group)]


def _sorted(group: dict[str, float]) -> dict[str, float]:
    return dict(sorted(group.items(), key=lambda item: item[1]))


def _base(group: Mapping[str, float]) -> str:
    first = min(group, key=lambda name: (name not in GROUP_OF, len(name), name))
    if all(name.startswith(first) for name in group):
        return first
    return SWEPT.sub("", WORD.sub("", first)).replace(", )", ")").removesuffix(" ()")
