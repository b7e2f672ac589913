"""One colour, marker and line per optimizer, in every figure and whichever others are in it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple
from zlib import crc32

from bbo_bench.report.runs import Run


class Style(NamedTuple):
    """How an optimizer is drawn."""

    color: str
    marker: str
    line: Any


DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1)))
KNOWN = {  # Okabe and Ito's palette, without its yellow, which a white page swallows
    "prior_sampling": Style("#7F7F7F", "D", (0, (1, 1))),
    "sqdf": Style("#0072B2", "o", "-"),
    "ddpo": Style("#D55E00", "s", "-"),
    "ddpo_oracle": Style("#E69F00", "s", "--"),
    "cma_es": Style("#009E73", "^", "-"),
    "genetic": Style("#CC79A7", "v", "-"),
    "turbo": Style("#56B4E9", "P", "-."),
    "qlogei": Style("#000000", "X", "-."),
}
OTHERS = ("#332288", "#117733", "#882255", "#44AA99", "#999933", "#AA4499", "#661100")
"""Paul Tol's muted palette, for optimizers of plugins."""
MARKERS = ("<", ">", "p", "h", "d", "*")
KL_WEIGHT = "kl_weight"


def style(optimizer: str) -> Style:
    """An optimizer's style; that of an unknown one derives from its name alone, so that it never changes."""
    code = crc32(optimizer.encode())
    other = Style(OTHERS[code % 7], MARKERS[code // 7 % 6], DASHES[code // 42 % 7])
    return KNOWN.get(optimizer, other)


def families(runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    """Optimizers that differ in their KL weight alone, with their weights, ascending, under the base's name.

    The base is a known optimizer, or else the shortest name. Others are alone, their weight NaN where they have none.
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
    return {base: _sorted(named[base]) for base in sorted(named, key=_rank)}


def order(kinships: dict[str, dict[str, float]]) -> list[str]:
    """All optimizers: the known ones first, each base before its variants."""
    return list(dict.fromkeys(name for base, group in kinships.items() for name in (base, *group)))


def _sorted(group: dict[str, float]) -> dict[str, float]:
    return dict(sorted(group.items(), key=lambda item: item[1]))


def _prominence(name: str) -> tuple[bool, int, str]:
    return name not in KNOWN, len(name), name


def _rank(name: str) -> tuple[int, str]:
    return (list(KNOWN).index(name) if name in KNOWN else len(KNOWN)), name
