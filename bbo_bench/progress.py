"""How far a long step has come, said by whoever takes it to whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Reporter = Callable[[int, int], None]
_reporter: ContextVar[Reporter | None] = ContextVar("reporter", default=None)
EVERY = 0.5
"""Seconds between two reports."""


def tick(done: int, of: int) -> None:
    """Say that so many parts are done of about so many; free of charge where nobody listens."""
    if (reporter := _reporter.get()) is not None:
        reporter(done, max(of, done))


@contextmanager
def shown(show: Callable[[str], None], title: str) -> Iterator[None]:
    """Show what is done in the meantime, twice a second at most, with the seconds that are left."""
    begun = last = time.perf_counter()

    def report(done: int, of: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= EVERY:
            last = now
            show(f"{title} {done}/{of}, {(now - begun) / done * (of - done):.0f} s left")

    show(title)
    token = _reporter.set(report)
    try:
        yield
    finally:
        _reporter.reset(token)
