"""Optimizers that are one method with several KL weights, or several budgets of KL."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from bbo_bench.report.runs import Run
from bbo_bench.report.style import GROUP_OF, SWEPT, rank

STRENGTHS = ("kl_weight", "kl_budget")
"""Settings of how far a policy may go from the prior, of which one is set."""
WORD = re.compile(rf"(?<=[( ])({'|'.join(STRENGTHS)})=[^,)]*(, )?")
"""What a label says of them."""


class Family(dict[str, float]):
    """Optimizers with their KL weights, or budgets, ascending.

    Args:
        members: Optimizers with these, in any order.
        word: Which of `STRENGTHS` they are; None where the only member has none.
    """

    def __init__(self, members: Mapping[str, float], word: str | None) -> None:
        super().__init__(sorted(members.items(), key=lambda item: item[1]))
        self.word = word


Families = Mapping[str, Family]
"""By the base's name."""


def families(runs: Iterable[Run]) -> dict[str, Family]:
    """Optimizers that differ in their KL weight alone, or their budget, with these, ascending, under the base's name.

    The base is that of them whose name all others continue; where none is, what is left of a name without its weight,
    with the word `kl_budget` or `kl_weight` where the other is the base. Others are alone, their weight NaN where they
    have none.
    """
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    keys: dict[str, str | None] = {}
    for run in {run.optimizer: run for run in runs}.values():
        rest = {key: value for key, value in run.settings.items() if key not in STRENGTHS}
        key = strength(run.settings)
        same = json.dumps([key, key or run.optimizer, rest], sort_keys=True, default=str)
        groups[same][run.optimizer] = math.nan if key is None else float(run.settings[key])
        keys[same] = key
    named: dict[str, Family] = {}
    for same, group in sorted(groups.items(), key=lambda item: _base(item[1]) not in item[1]):
        base, word = _base(group), keys[same]
        base = f"{base} ({word})" if base in named and len(group) > 1 else base
        alone = {name: Family({name: weight}, word) for name, weight in group.items()}
        named |= alone if base in named else {base: Family(group, word)}
    return {base: named[base] for base in sorted(named, key=rank)}


def strength(settings: Mapping[str, Any]) -> str | None:
    """Which of `STRENGTHS` is set."""
    return next((key for key in STRENGTHS if isinstance(settings.get(key), int | float)), None)


def order(kinships: Families) -> list[str]:
    """All optimizers by group and method, each base before its variants."""
    return [name for base, group in kinships.items() for name in sorted(group, key=lambda name: name != base)]


def distinct(kinships: Families) -> list[str]:
    """The optimizers to show beside each other: the base of each family, or all of a family whose base was not run."""
    return [name for base, group in kinships.items() for name in ([base] if base in group else group)]


def _base(group: Mapping[str, float]) -> str:
    first = min(group, key=lambda name: (name not in GROUP_OF, len(name), name))
    if all(name.startswith(first) for name in group):
        return first
    return SWEPT.sub("", WORD.sub("", first)).replace(", )", ")").removesuffix(" ()")
