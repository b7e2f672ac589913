"""One bar for a whole sweep, drawn by its own thread from the folders of the runs, wherever these are made."""

from __future__ import annotations

from collections.abc import Sequence
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
        self._look()
        self._bar.close()

    @property
    def _complete(self) -> int:
        return sum(each.state == "complete" for each in self._runs.values())

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            self._look()

    def _look(self) -> None:
        """Read the runs that have committed a round since."""
        for folder, before in self._stamps.items():
            if (stamp := _stamp(folder)) != before:
                self._stamps[folder], self._runs[folder] = stamp, progress(folder)
        runs = list(self._runs.values())
        done = [each for each in runs if each.state == "complete"]
        left = seconds_left(runs, self._rounds, Times([*self._earlier, *done]))
        if left is not None:
            self._bar.set_postfix_str(
                f"about {duration(left / min(self._processes, max(1, len(runs) - len(done))))} left"
            )
        self._bar.update(len(done) - self._bar.n)


def _stamp(folder: Path) -> float:
    """When a run last committed a round; 0 before the first."""
    try:
        return (folder / "provenance.json").stat().st_mtime
    except OSError:
        return 0.0
