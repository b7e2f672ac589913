"""Two folders of the same runs: are their numbers equal, within a tolerance, or from which round on are they not?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bbo_bench.plan import shown
from bbo_bench.report.labels import flat
from bbo_bench.report.runs import DESIGNS, ReportError
from bbo_bench.untrusted import DAMAGE, describes_a_run, read_yaml

Values = Mapping[tuple[int, str], NDArray[Any]]
"""What a file holds, by round and name of a column or an array."""


class Tolerance(NamedTuple):
    """Two numbers agree if they differ by at most `atol + rtol` times the larger of them."""

    rtol: float
    atol: float


class Gap(NamedTuple):
    """How two numbers differ: in units of what the tolerance allows, and relative to the larger of them."""

    excess: float
    relative: float


class UnreadableError(Exception):
    """A file is damaged, or not what its name says."""


class Verdict(NamedTuple):
    """What has become of a file: in one word or two, which are counted, and in detail."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return self.kind + self.detail


def reproduction(one: Path, other: Path, *, rtol: float = 1e-9, atol: float = 1e-12) -> tuple[str, bool]:
    """Verdicts on the metrics, ledgers and designs of the runs in or below two folders, and their counts.

    Runs are paired by their paths below the folders. What only one folder has is missing in the other, and columns
    that only one file has are named; neither makes runs differ, nor does a configuration, which is named too.

    Args:
        one: A folder of runs.
        other: A folder of the same runs.
        rtol: Relative tolerance.
        atol: Absolute tolerance.

    Returns:
        The lines, and whether every file could be read, and none differs beyond the tolerance.

    Raises:
        ReportError: If the folders have no run in common.
    """
    runs = [{path.parent.relative_to(root) for path in root.rglob("config.yaml")} for root in (one, other)]
    if not runs[0] & runs[1]:
        found = ", ".join(f"{shown(root)} has {_some(each)}" for root, each in zip((one, other), runs, strict=True))
        raise ReportError(f"no run in common: {found}; name two folders below which the runs have the same paths")
    lines, counts = [], Counter[str]()
    for run in sorted(runs[0] | runs[1]):
        verdicts = _verdicts(one / run, other / run, Tolerance(rtol, atol))
        counts.update(verdict.kind for verdict in verdicts.values())
        files: dict[Verdict, list[str]] = defaultdict(list)
        for name, verdict in verdicts.items():
            files[verdict].append(name)
        lines += [f"{run}: {', '.join(names)}: {verdict}" for verdict, names in files.items()]
    total = ", ".join(f"{kind}: {count}" for kind, count in sorted(counts.items()))
    same = not counts["differs"] + counts["unreadable"]
    return "\n".join([*lines, f"{total} (rtol {rtol:g}, atol {atol:g})"]), same


def _verdicts(one: Path, other: Path, tolerance: Tolerance) -> dict[str, Verdict]:
    """By the names of what at least one of the folders has."""
    for folder in (one, other):
        if not (folder / "config.yaml").exists():
            return {"run": Verdict("missing", f" in {shown(folder)}")}
    found = {}
    try:
        configs = [_settings(folder / "config.yaml") for folder in (one, other)]
    except UnreadableError as error:
        return {"config.yaml": Verdict("unreadable", f": {error}")}
    unlike = sorted(key for key in configs[0].keys() | configs[1].keys() if configs[0].get(key) != configs[1].get(key))
    if unlike:
        found["config.yaml"] = Verdict("other settings", f": {', '.join(unlike)}")
    for name, read in READERS.items():
        exist = [(folder / name).exists() for folder in (one, other)]
        if all(exist):
            found[name] = _verdict(one / name, other / name, read, tolerance)
        elif any(exist):
            found[name] = Verdict("missing", f" in {shown((one, other)[exist.index(False)])}")
    return found


def _verdict(one: Path, other: Path, read: Callable[[Path], Values], tolerance: Tolerance) -> Verdict:
    if one.read_bytes() == other.read_bytes():
        return Verdict("identical bytes")
    try:
        a, b = (_read(read, path) for path in (one, other))
    except UnreadableError as error:
        return Verdict("unreadable", f": {error}")
    names = [{name for _, name in values} for values in (a, b)]
    only = {one: names[0] - names[1], other: names[1] - names[0]}
    extra = "".join(f"; only in {shown(path)}: {', '.join(sorted(own))}" for path, own in only.items() if own)
    common = names[0] & names[1]
    gaps = {key: _gap(a.get(key), b.get(key), tolerance) for key in sorted(a.keys() | b.keys()) if key[1] in common}
    beyond = sorted(round_ for (round_, _), gap in gaps.items() if gap.excess > 1)
    if not beyond:
        return Verdict("same within tolerance", f", {_largest(gaps)}{extra}")
    first = {key: gap for key, gap in gaps.items() if key[0] == beyond[0]}
    later = "" if beyond[0] == beyond[-1] else f"; of all rounds, {_largest(gaps)}"
    return Verdict("differs", f" from round {beyond[0]} on, {_largest(first)}{later}{extra}")


def _read(read: Callable[[Path], Any], path: Path) -> Any:
    try:
        return read(path)
    except DAMAGE as error:
        raise UnreadableError(f"{shown(path)}: {type(error).__name__}: {error}") from error


def _settings(path: Path) -> Mapping[str, str]:
    config = _read(lambda file: read_yaml(file.read_text(encoding="utf-8")), path)
    if not describes_a_run(config):
        raise UnreadableError(f"{shown(path)} is not that of a run")
    return flat(config)


def _gap(a: NDArray[Any] | None, b: NDArray[Any] | None, tolerance: Tolerance) -> Gap:
    """The gap of the two numbers that most exceed the tolerance; infinite where not both are numbers, and unequal."""
    if a is None or b is None or a.shape != b.shape:
        return Gap(np.inf, np.inf)
    equal = (a == b) | (pd.isna(a) & pd.isna(b))
    if equal.all():
        return Gap(0.0, 0.0)
    if not (np.issubdtype(a.dtype, np.number) and np.issubdtype(b.dtype, np.number)):
        return Gap(np.inf, np.inf)
    x, y = a[~equal].astype(float), b[~equal].astype(float)
    if not (np.isfinite(x) & np.isfinite(y)).all():
        return Gap(np.inf, np.inf)
    scale, gap = np.maximum(np.abs(x), np.abs(y)), np.abs(x - y)
    allowed = tolerance.atol + tolerance.rtol * scale
    excess = np.divide(gap, allowed, out=np.full_like(gap, np.inf), where=allowed > 0)
    worst = int(excess.argmax())
    return Gap(float(excess[worst]), float(gap[worst] / scale[worst]))


def _largest(gaps: Mapping[tuple[int, str], Gap]) -> str:
    (round_, name), gap = max(gaps.items(), key=lambda item: item[1])
    if gap.excess == 0:
        return "the same numbers"
    amount = "other values or shapes" if np.isinf(gap.relative) else f"a relative difference of {gap.relative:.1e}"
    return f"{amount} in {name}, round {round_}"


def _table(path: Path) -> Values:
    """Columns of each round, from a CSV with a row per round or per query."""
    frame = pd.read_csv(path)
    rounds = {int(round_): frame[frame["round"] == round_] for round_ in frame["round"].unique()}
    return {(round_, name): rows[name].to_numpy() for round_, rows in rounds.items() for name in map(str, frame)}


def _arrays(path: Path) -> Values:
    """Designs by round: `queried_0`, `recommended_0`, ..."""
    with np.load(path) as arrays:
        named = {tuple(key.rsplit("_", 1)): arrays[key] for key in arrays.files}
    return {(int(round_), name): array for (name, round_), array in named.items()}


def _some(runs: set[Path]) -> str:
    first = sorted(map(str, runs))[:2]
    return ", ".join(first) + (", ..." if len(runs) > 2 else "") if runs else "no run"


READERS: Mapping[str, Callable[[Path], Values]] = {
    "metrics.csv": _table,
    "ledger.csv": _table,
    **dict.fromkeys(DESIGNS, _arrays),
}
