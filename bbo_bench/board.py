"""One bar for a whole sweep, drawn by its own thread from the folders of the runs, wherever these are made."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Self

from tqdm import tqdm

from bbo_bench.status import Times, duration, earlier, progress, seconds_left

EVERY = 2.0
"""Seconds between two looks at the folders."""


class Board:
    """Shows how many runs of a sweep are complete, and what is left by the times of those and of earlier ones.

    Args:
        folders: Of the runs.
        rounds: Queries per round of each.
        processes: How many are made at a time; None where that is not known.
    """

    def __init__(self, folders: Sequence[Path], rounds: Sequence[tuple[int, ...]], processes: int | None) -> None:
        self._rounds, self._processes = rounds, processes or 1
        self._runs = {folder: progress(folder) for folder in folders}
        self._stamps = {folder: _stamp(folder) for folder in folders}
        self._earlier = earlier(folders)
        self._bar = tqdm(total=len(folders), initial=self._complete, desc="sweep", unit="run", position=0)
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def start(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Look a last time, and leave the bar as it is."""
        self._ended.set()
        self._thread.join()
        with suppress(OSError):
            self._look()
        self._bar.close()

    @property
    def _complete(self) -> int:
        return sum(each.state == "complete" for each in self._runs.values())

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            with suppress(OSError):  # a file system that is away for a moment
                self._look()

    def _look(self) -> None:
        """Read the runs that have committed a round since."""
        for folder, before in self._stamps.items():
            if (stamp := _stamp(folder)) != before:
                self._stamps[folder], self._runs[folder] = stamp, progress(folder)
        runs = list(self._runs.values())
        done = [each for each in runs if each.state == "complete"]
        ended = [each.state in ("complete", "failed") for each in runs]
        still = [pair for pair, over in zip(zip(runs, self._rounds, strict=True), ended, strict=True) if not over]
        left = seconds_left([run for run, _ in still], [rounds for _, rounds in still], Times([*self._earlier, *done]))
        if left is not None:
            self._bar.set_postfix_str(f"about {duration(left / min(self._processes, len(still)))} left")
        self._bar.update(len(done) - self._bar.n)


def _stamp(folder: Path) -> float:
    """When a run last committed a round, or failed; 0 before either."""
    latest = 0.0
    for name in ("provenance.json", "error.txt"):
        with suppress(OSError):
            latest = max(latest, (folder / name).stat().st_mtime)
    return latest
