"""A fingerprint of all numbers that an object holds, by which a change in place is noticed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fingerprint(root: object) -> list[int]:
    """Of each tensor that `root` holds the sum of its bits, read as integers; computed where the tensors are.

    It sees what is in attributes and containers, modules included. A change in place that leaves all sums as they were,
    an exchange of two weights say, is not seen.
    """
    sums = [_bits(tensor).sum(dtype=torch.int64) for tensor in _tensors(root)]
    devices = dict.fromkeys(each.device for each in sums)
    return [n for device in devices for n in torch.stack([each for each in sums if each.device == device]).tolist()]


def _bits(tensor: Tensor) -> Tensor:
    real = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    return real.view(INTEGERS[real.element_size()]) if real.numel() else real.new_zeros(0, dtype=torch.int64)


def _tensors(root: object) -> Iterator[Tensor]:
    seen: set[int] = set()
    queue = [root]
    while queue:
        each = queue.pop()
        if id(each) in seen or isinstance(each, type | str | bytes | int | float):
            continue
        seen.add(id(each))
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, np.ndarray):
            if each.dtype.kind in "biufc":  # by its bytes, as torch has not all of its types
                yield torch.from_numpy(np.frombuffer(each.tobytes(), np.uint8).copy())
        elif isinstance(each, Mapping):
            queue += each.values()
        elif isinstance(each, list | tuple | set | frozenset):
            queue += each
        else:
            queue += getattr(each, "__dict__", {}).values()
