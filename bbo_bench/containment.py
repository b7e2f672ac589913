"""What a plugin does to its process ends with its run: an exit is a failure, a hang is ended, settings are put back."""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

import numpy as np
import torch

GRACE = 10
"""Seconds that a run has to end by itself, once its time is over, before its process is ended."""


class RunEnded(RuntimeError):
    """A run ended before its time, or did not end in time."""


@contextmanager
def contained(seconds: float | None = None) -> Iterator[None]:
    """Keep what a run does to its process from the runs that follow there.

    Args:
        seconds: How long it may take. Python code, and what returns to it, is then stopped by an exception; a process
            that does not come back ends `GRACE` seconds later, with a traceback on stderr.

    Raises:
        RunEnded: If the time is over, or something inside raised `SystemExit`, or `KeyboardInterrupt` though nobody
            interrupted the program.
    """
    interrupted = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.default_int_handler(number, frame)

    with _restored(), _handled("SIGINT", interrupt), nullcontext() if seconds is None else _limited(seconds):
        try:
            yield
        except (SystemExit, KeyboardInterrupt) as error:
            if interrupted.is_set():
                raise
            raise RunEnded(f"something in the run raised {error!r}, which would have ended the program") from error
        except Exception as error:  # of the alarm, which may have come in the middle of a plugin's call
            ended = next((each for each in _causes(error) if isinstance(each, RunEnded)), error)
            if ended is error:
                raise
            raise ended from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


@contextmanager
def _restored() -> Iterator[None]:
    """Put back, at the end, what code changes for a whole process."""
    folder, environment = os.getcwd(), os.environ.copy()
    numpy_errors, numpy_random, python_random = np.geterr(), np.random.get_state(), random.getstate()
    default_type, threads = torch.get_default_dtype(), torch.get_num_threads()
    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with warnings.catch_warnings(), torch.random.fork_rng(cuda), torch.enable_grad():
        try:
            yield
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            np.seterr(**numpy_errors)
            np.random.set_state(numpy_random)
            random.setstate(python_random)
            torch.set_default_dtype(default_type)
            torch.set_num_threads(threads)


@contextmanager
def _handled(name: str, handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Let a signal call `handler`, where the system has it, and Python allows it: in a program's main thread."""
    number = getattr(signal, name, None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise the alarm after so many seconds, and again while that is caught; at last end the process."""

    def expire(number: int, frame: FrameType | None) -> None:
        raise RunEnded(f"the run took more than the timeout of {seconds:g} s; with more the same command goes on")

    faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        with _handled("SIGALRM", expire), _alarm(seconds):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.setitimer(signal.ITIMER_REAL, seconds, GRACE / 4)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)
