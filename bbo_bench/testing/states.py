"""States, global and saved, and files of runs, as the suites compare them."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bbo_bench.core import Optimizer
from bbo_bench.record import DESIGNS


def global_states() -> tuple[str, str, bytes]:
    """The global random states of `random`, NumPy and torch, to be compared."""
    return repr(random.getstate()), repr(np.random.get_state()), torch.random.get_rng_state().numpy().tobytes()


def seeded_anew(optimizer: Optimizer) -> Optimizer:
    """The optimizer, its generator seeded as before any other call."""
    optimizer.rng.manual_seed(7)
    return optimizer


def saved_and_loaded(state: Any) -> Any:
    """A state as it comes back from its file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal, tensor by tensor; NaN equals NaN."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b or (a != a and b != b))


def designs(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The arrays of a run's designs."""
    return {key: x for name in DESIGNS if name in files for key, x in np.load(io.BytesIO(files[name])).items()}


def assert_same_files(got: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
    """Fail, and name the first file that differs."""
    for name, content in expected.items():
        assert got[name] == content, f"{name} differs from that of a run that nothing has disturbed"
