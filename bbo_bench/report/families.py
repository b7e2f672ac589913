"""Optimizers that are one method with several KL weights."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

from bbo_bench.report.runs import Run
from bbo_bench.report.style import GROUP_OF, rank

KL_WEIGHT = "kl_weight"
Families = Mapping[str, Mapping[str, float]]
"""By the base's name: the optimizers and their KL weights."""


def families(runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    """Optimizers that differ in their KL weight alone, with their weights, ascending, under the base's name.

    The base is a known method, or else the shortest name. Others are alone, their weight NaN where they have none.
    """
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    for run in runs:
        rest = {key: value for key, value in run.settings.items() if key != KL_WEIGHT}
        alone = None if KL_WEIGHT in run.settings else run.optimizer
        weight = float(run.settings.get(KL_WEIGHT, "nan"))
        groups[json.dumps([alone, rest], sort_keys=True, default=str)][run.optimizer] = weight
    named: dict[str, dict[str, float]] = defaultdict(dict)
    for group in groups.values():
        named[min(group, key=_prominence)] |= group
    return {base: _sorted(named[base]) for base in sorted(named, key=rank)}


def order(kinships: Families) -> list[str]:
    """All optimizers by group and method, each base before its variants."""
    return list(dict.fromkeys(name for base, group in kinships.items() for name in (base, *group)))


def _sorted(group: dict[str, float]) -> dict[str, float]:
    return dict(sorted(group.items(), key=lambda item: item[1]))


def _prominence(name: str) -> tuple[bool, int, str]:
    return name not in GROUP_OF, len(name), name
