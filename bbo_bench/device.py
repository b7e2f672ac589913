"""Where a run computes, and with how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from bbo_bench.plugins import UsageError, suggestion


def resolve(name: str) -> torch.device:
    """The device of that name; `auto` is `cuda` where there is one, else `cpu`.

    `mps` is never chosen unasked: the networks here are small, and the proxies of Bayesian optimization need doubles.

    Raises:
        UsageError: If there is no such device on this machine.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if present["cuda"] else "cpu"
    if not present.get(name):
        here = ", ".join(filter(present.get, present))
        if name in present:
            raise UsageError(f"device={name} is not on this machine; use one of auto, {here}")
        raise UsageError(f"device={name} is unknown; use one of auto, {here}; {suggestion(name, ['auto', *present])}")
    return torch.device(name)


def precise(device: torch.device) -> torch.dtype:
    """The type of scores on a device: double precision, or single on `mps`, which has no other."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def limited_threads(n: int) -> Iterator[None]:
    """Let torch, OpenMP and BLAS use `n` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(n):
            yield
    finally:
        torch.set_num_threads(before)
