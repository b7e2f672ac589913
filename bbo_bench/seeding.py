"""Randomness is an argument: seeds derived by name, and a loan of a generator to libraries that use global state."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Generator


def derive(seed: int, *names: str | int) -> int:
    """A seed of its own for every stream of random numbers, for instance `derive(0, "noise", 3)`."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> Generator:
    """A generator on `device` for the named stream of random numbers."""
    return Generator(device).manual_seed(derive(seed, *names))


@contextmanager
def single_precision() -> Iterator[None]:
    """New tensors are of 32 bits, whatever default other code has set; it is put back at the end."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def seeded(rng: Generator) -> Iterator[int]:
    """Lend `rng` to libraries that draw from the global state of torch, NumPy or `random`.

    Yields a 31-bit seed for those that ask for one. The global states are put back at the end.
    """
    seed = int(torch.randint(2**31 - 1, (), generator=rng, device=rng.device))
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(enabled=True):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield seed
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
