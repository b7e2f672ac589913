"""How far runs have come, and what is left to do by the times of those that are complete."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bbo_bench.lease import Holder, alive
from bbo_bench.plan import shown
from bbo_bench.plugins import UsageError
from bbo_bench.untrusted import DAMAGE, describes_a_run, read_yaml

PLANNED = "planned.txt"
"""In the folder of a sweep's notes, until it ends: the folders of its runs."""
PLANS = f".sweep_*/{PLANNED}"
"""Those of all sweeps of a folder of results; `conf/config.yaml` names the folders of notes."""
ENOUGH = 5
"""Complete runs of a pair that its time is estimated by."""


@dataclass(frozen=True)
class Progress:
    """Where one run stands.

    Attributes:
        folder: Of the run.
        state: `complete`, `running`, `failed`, `stopped` or `to come`.
        rounds: Queries per round; None before it has begun.
        seconds: Of each committed round.
        memory: Its peak in MB.
        holder: Who is at work on it.
        reason: Why it failed.
    """

    folder: Path
    state: str
    rounds: tuple[int, ...] | None = None
    seconds: tuple[float, ...] = ()
    memory: float = 0.0
    holder: Holder | None = None
    reason: str = ""

    @property
    def pair(self) -> tuple[str, str]:
        """Its task and its optimizer."""
        return self.folder.parents[1].name, self.folder.parent.name


class Times:
    """Seconds that runs took round by round, to estimate others by."""

    def __init__(self, complete: Iterable[Progress]) -> None:
        known: dict[tuple[object, ...], list[Progress]] = defaultdict(list)
        for each in complete:
            for key in self._keys(each.pair, each.rounds):
                known[key].append(each)
        self._seconds = {
            key: [median(column) for column in zip(*(each.seconds for each in runs), strict=True)]
            for key, runs in known.items()
        }
        self.memory = max((each.memory for runs in known.values() for each in runs), default=None)

    def left(self, pair: tuple[str, str], rounds: tuple[int, ...] | None, done: int = 0) -> float | None:
        """Seconds that a run still takes, by the closest runs of the same budget; None where there are none."""
        found = (self._seconds[key] for key in self._keys(pair, rounds) if key in self._seconds)
        seconds = next(found, None)
        return None if seconds is None else sum(seconds[done:])

    @staticmethod
    def _keys(pair: tuple[str, str], rounds: tuple[int, ...] | None) -> list[tuple[object, ...]]:
        """What runs are alike by, the closest first."""
        task, optimizer = pair
        return [(task, optimizer, rounds), ("", optimizer, rounds), (task, "", rounds), ("", "", rounds)]


def progress(folder: Path) -> Progress:
    """Where the run in a folder stands."""
    if not (folder / "config.yaml").exists():
        return Progress(folder, "to come")
    config, facts = _read(folder / "config.yaml"), _read(folder / "provenance.json")
    try:
        if facts is None and (folder / "provenance.json").exists():
            raise ValueError("its provenance.json cannot be read")
        facts = facts or {}
        if config is None or not describes_a_run(config):
            raise ValueError("its config.yaml is not that of a run")
        rounds = tuple(config["budget"]["rounds"])
        seconds = tuple(float(each["total"]) for each in facts.get("seconds", ()))
        memory = float(facts.get("peak_mb", 0))
        if facts.get("complete") and not (folder / "metrics.csv").exists():
            raise ValueError("its metrics.csv is missing")
        if len(seconds) > len(rounds) or (facts.get("complete") and len(seconds) < len(rounds)):
            raise ValueError(f"its provenance.json has seconds of {len(seconds)} of {len(rounds)} rounds")
    except (LookupError, TypeError, ValueError) as error:
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        return Progress(folder, "failed", reason=f"{kind}{error}")
    if facts.get("complete"):
        return Progress(folder, "complete", rounds, seconds, memory)
    if holder := alive(folder):
        return Progress(folder, "running", rounds, seconds, memory, holder)
    if (note := folder / "error.txt").exists():
        *_, reason = ["", *note.read_text(encoding="utf-8", errors="replace").strip().splitlines()]
        return Progress(folder, "failed", rounds, seconds, memory, reason=reason)
    return Progress(folder, "stopped", rounds, seconds, memory)


def survey(folders: Sequence[Path]) -> list[Progress]:
    """The runs below some folders, and those that sweeps have planned there."""
    return [progress(folder) for folder in dict.fromkeys(each for folder in folders for each in _runs(folder))]


def status(folders: Sequence[Path]) -> str:
    """How far campaigns, the runs below some folders, and those that sweeps have planned there, have come.

    Raises:
        UsageError: If there are none.
    """
    campaigns = {folder: line for folder in folders if (line := _campaign(folder))}
    rest = [folder for folder in folders if folder not in campaigns]
    return "\n".join([*campaigns.values(), *([_of_runs(rest)] if rest else [])])


def _campaign(folder: Path) -> str:
    """Where the campaign in a folder stands, and what is next; empty where it holds none."""
    config = _read(folder / "config.yaml") or {}
    if config.get("scores") != "told" or (run := progress(folder)).rounds is None:
        return ""
    from bbo_bench.record import ASKED  # which imports torch

    names, done = [config[kind]["name"] for kind in ("task", "optimizer")], len(run.seconds)
    if run.state == "complete":
        after = f"bbo-bench export {shown(folder)} --top 10"
    elif (folder / ASKED).exists():
        after = f"designs of round {done} wait for scores: bbo-bench tell {shown(folder)} SCORES"
    else:
        after = f"bbo-bench ask {shown(folder)}"
    return f"{shown(folder)}: {names[1]} on {names[0]}, {done} of {len(run.rounds)} rounds told; {after}"


def _of_runs(folders: Sequence[Path]) -> str:
    runs = survey(folders)
    if not runs:
        where = ", ".join(map(str, folders))
        raise UsageError(f"no runs, made or planned, in {where}; a sweep plans its own in its first half minute")
    times = Times(each for each in runs if each.state == "complete")
    states = Counter(each.state for each in runs)
    order = ("complete", "running", "failed", "stopped", "to come")
    lines = [f"{len(runs)} runs: {', '.join(f'{states[state]} {state}' for state in order if states[state])}"]
    lines += [_line(each, times) for state in order[1:4] for each in runs if each.state == state]
    budget = next((each.rounds for each in runs if each.rounds), None)  # of those that have not begun
    left = [
        times.left(each.pair, each.rounds or budget, len(each.seconds))
        for each in runs
        if each.state in ("running", "stopped", "to come")
    ]
    if left and None not in left:
        seconds, at_once = sum(filter(None, left)), max(states["running"], 1)
        how = f"{at_once} at a time" if at_once > 1 else "one after the other"
        lines.append(f"about {duration(seconds / at_once)} left, {how}, by the times of those that are complete")
    return "\n".join(lines)


def estimate(folders: Sequence[Path], rounds: Sequence[tuple[int, ...]], processes: int | None) -> str:
    """What a sweep will take, in a line.

    Args:
        folders: Of its runs, `results/<name>/<task>/<optimizer>/seed_<n>`.
        rounds: Queries per round of each.
        processes: How many are made at a time; None where that is not known.
    """
    runs = [progress(folder) for folder in folders]
    complete = sum(each.state == "complete" for each in runs)
    head = f"{len(runs)} runs" + (f", {complete} of them complete" if complete else "")
    times, unfinished = Times(earlier(folders)), len(runs) - complete
    if not unfinished:
        return head
    seconds = seconds_left(runs, rounds, times)
    if seconds is None:
        return f"{head}; no earlier ones to estimate their time by"
    at_once = min(processes or 1, unfinished)
    how = "of computing" if processes is None else f"in {at_once} process{'es' if at_once > 1 else ''}"
    memory = f", up to {times.memory / 1000:.1f} GB each" if times.memory else ""
    return f"{head}; about {duration(seconds / at_once)} {how}{memory}, by earlier runs"


def seconds_left(runs: Sequence[Progress], rounds: Sequence[tuple[int, ...]], times: Times) -> float | None:
    """What the runs that are not complete still take, one after the other; None where nothing is known of any.

    Args:
        runs: Of a sweep.
        rounds: Queries per round of each.
        times: Of other runs.
    """
    left = [
        times.left(each.pair, each.rounds or budget, len(each.seconds))
        for each, budget in zip(runs, rounds, strict=True)
        if each.state != "complete"
    ]
    known = [each for each in left if each is not None]
    return sum(known) / len(known) * len(left) if known else None


def earlier(folders: Sequence[Path]) -> list[Progress]:
    """Some complete runs of the same pairs, in the same folder of results, whatever their experiment."""
    pairs = {(folder.parents[3], folder.parents[1].name, folder.parent.name): None for folder in folders}
    return [each for pair in pairs for each in _recorded(*pair)]


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def _line(run: Progress, times: Times) -> str:
    done = f"{len(run.seconds)} of {len(run.rounds or ())} rounds"
    if run.state == "failed":
        return f"failed   {shown(run.folder)}: {run.reason}"
    if run.state == "stopped":
        return f"stopped  {shown(run.folder)}: {done}; the same command goes on with it"
    left = times.left(run.pair, run.rounds, len(run.seconds))
    words = "" if left is None else f", at most {duration(left)} left"
    who = f"process {run.holder.pid} of {run.holder.host}" if run.holder else "somebody"
    return f"running  {shown(run.folder)}: {done}{words} ({who})"


def _runs(folder: Path) -> Iterator[Path]:
    """Folders of the runs below one, and of those that a sweep has planned there."""
    yield from sorted(each.parent.absolute() for each in folder.rglob("seed_*/config.yaml"))
    root = folder.absolute()
    for above in (root, *root.parents):
        for plan in sorted(above.glob(PLANS)):
            lines = map(Path, plan.read_text(encoding="utf-8").splitlines())
            yield from (each for each in lines if each.is_relative_to(root))


def _recorded(results: Path, task: str, optimizer: str) -> list[Progress]:
    """Some complete runs of a pair, whatever their experiment."""
    found = results.glob(f"*/{task}/{optimizer}/seed_*/provenance.json")
    runs = (progress(each.parent) for each in found)
    complete = (each for each in runs if each.state == "complete")
    return [each for each, _ in zip(complete, range(ENOUGH), strict=False)]


def _read(file: Path) -> Mapping[str, Any] | None:
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if file.suffix == ".json" else read_yaml(text)
    except DAMAGE:
        return None
    return found if isinstance(found, dict) else None
