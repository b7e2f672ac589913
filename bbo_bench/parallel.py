"""Slow oracles over several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from joblib import Parallel, delayed

T = TypeVar("T")
R = TypeVar("R")


def pmap(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of every item, in their order, by as many processes as torch has threads.

    Args:
        function: A function of a module, which processes can import; without side effects.
        items: Each worth milliseconds of work.
    """
    processes = min(torch.get_num_threads(), len(items))
    if processes < 2:
        return [function(item) for item in items]
    outcome: list[R] = Parallel(n_jobs=processes, batch_size=-(-len(items) // (4 * processes)))(
        delayed(function)(item) for item in items
    )
    return outcome
