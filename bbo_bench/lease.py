"""Who works on a run's folder: a file that its process keeps fresh, for machines between which locks do not hold."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

NAME = ".lease"
INTERVAL = 15.0
"""Seconds between two signs of life."""
EXPIRY = 120.0
"""Seconds of silence after which a process on another machine is taken for dead."""


class Holder(NamedTuple):
    """A process that works, or has worked, on a folder."""

    host: str
    pid: int
    since: float


class LeaseLost(RuntimeError):
    """Another machine has taken a folder over, or holds it."""


class Lease:
    """A claim on a run's folder, from `take` to `release`.

    On one machine the lock beside it decides. Between machines that share a file system its locks may hold for each
    alone, as on some mounts of NFS, so a lease of another machine counts until it has been silent for `EXPIRY` seconds,
    by the clock of who waits.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / NAME
        self._holder = Holder(socket.gethostname(), os.getpid(), time.time())
        self._released = threading.Event()

    def take(self) -> None:
        """Claim the folder.

        Raises:
            LeaseLost: If a process on another machine works on it.
            OSError: If it cannot be written.
        """
        if (other := holder(self._file.parent)) and other.host != self._holder.host:
            self._wait_for(other)
        aside = self._file.with_name(f"{NAME}.part")
        aside.write_text(json.dumps(self._holder), encoding="utf-8")
        aside.replace(self._file)
        threading.Thread(target=self._live, daemon=True).start()

    def check(self) -> None:
        """Raise `LeaseLost` if another process has claimed the folder since; one that could not be heard for long."""
        other = holder(self._file.parent)
        if other is not None and other != self._holder:
            raise LeaseLost(f"{self._file.parent} has been taken over by process {other.pid} of {other.host}")

    def release(self) -> None:
        """Give the folder back."""
        self._released.set()
        if holder(self._file.parent) == self._holder:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def _live(self) -> None:
        while not self._released.wait(INTERVAL) and holder(self._file.parent) in (None, self._holder):
            with suppress(OSError):  # it may come back
                os.utime(self._file)

    def _wait_for(self, other: Holder) -> None:
        first, start = _sign(self._file), time.monotonic()
        while time.monotonic() - start < EXPIRY:
            if (now := _sign(self._file)) is None:
                return
            if now != first:
                raise LeaseLost(f"{self._file.parent} is in use by process {other.pid} of {other.host}")
            time.sleep(min(1.0, EXPIRY / 10))


def holder(folder: Path) -> Holder | None:
    """Who works on a folder, or has left it without a word; None if nobody."""
    try:
        return Holder(*json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def alive(folder: Path) -> Holder | None:
    """Who works on a folder, by the looks of it: the clocks of machines may differ."""
    known, sign = holder(folder), _sign(folder / NAME)
    if known is None or sign is None:
        return None
    if known.host == socket.gethostname():
        return known if _runs(known.pid) else None
    return known if time.time() - sign < EXPIRY else None


def _sign(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
