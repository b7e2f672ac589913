"""A sweep's runs in processes, any of which may die: of a crash in native code, or of too little memory."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Launch = Callable[[Any, Sequence[Sequence[str]], int], Sequence[Any]]
ATTEMPTS = 3
"""How often processes may die before a run has begun."""


@dataclass(frozen=True)
class Note:
    """What a run of a sweep, wherever it is made, leaves for the summary.

    Attributes:
        folder: Of the sweep's notes.
        number: Of the run in the sweep.
    """

    folder: Path
    number: int

    def begin(self) -> None:
        """Say that the run is being made from now on."""
        with suppress(OSError):
            self._begun.write_text(repr(time.time()), encoding="utf-8")

    def end(self) -> None:
        """Take that back."""
        with suppress(OSError):
            self._begun.unlink(missing_ok=True)

    def fail(self, why: str) -> None:
        """Say why the run failed.

        Raises:
            OSError: If that cannot be written.
        """
        self._failed.write_text(why, encoding="utf-8")

    @property
    def begun(self) -> float | None:
        """Since when the run is being made, in seconds since the epoch; None where it is not."""
        try:
            return float(self._begun.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    @property
    def failed(self) -> str | None:
        """Why the run failed; None where it did not."""
        return self._failed.read_text(encoding="utf-8") if self._failed.exists() else None

    @property
    def _begun(self) -> Path:
        return self.folder / f"{self.number}.begun"

    @property
    def _failed(self) -> Path:
        return self.folder / f"{self.number}.failed"


def outlasting(launch: Launch) -> Launch:
    """`launch` of joblib's launcher, but a process that dies ends its own run alone.

    joblib gives up all runs when a process dies, and does not say of which. So those that were being made are made
    again one by one; of each that ends its process once more this is noted, and the others go on.
    """

    @functools.wraps(launch)
    def outlast(launcher: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        folder, jobs = Path(launcher.config.hydra.sweep.dir).absolute(), dict(enumerate(job_overrides, initial_job_idx))
        first, fruitless = initial_job_idx, 0
        while True:
            try:
                return launch(launcher, list(jobs.values()), first)
            except BrokenProcessPool:
                suspects = [note for number in jobs if (note := Note(folder, number)).begun]
                fruitless = 0 if suspects else fruitless + 1
                if fruitless == ATTEMPTS:
                    raise
                for note in suspects:
                    _again(launch, launcher, jobs[note.number], note)
                first = min([note.number for note in suspects], default=first)
                jobs = {number: job for number, job in jobs.items() if number >= first}  # complete ones are skipped

    return outlast


def _again(launch: Launch, launcher: Any, job: Sequence[str], note: Note) -> None:
    """Make a run alone; if its process dies, note that it failed."""
    from bbo_bench.containment import GRACE

    limit, begun = launcher.config.timeout, note.begun
    try:
        if limit and begun and time.time() - begun > limit + GRACE:
            note.fail(f"the run took more than the timeout of {limit:g} s, and had to be ended with its process")
        else:
            launch(launcher, [job], note.number)
    except BrokenProcessPool as error:
        codes = re.search(r"\{(.*)\}", str(error))
        note.fail(
            f"its process ended{f' by {codes[1]}' if codes else ''}: a plugin ended it, native code crashed, "
            "or the machine has too little memory"
        )
    note.end()
