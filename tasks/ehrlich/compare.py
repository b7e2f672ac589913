"""Record values of pytorch-holo's Ehrlich functions, with which ours are compared: `python compare.py TARGET.npz`.

It runs in an environment of its own, since pytorch-holo pins numpy < 2, and imports nothing of bbo_bench:

    python -m venv holo && holo/bin/pip install "numpy<2" "torch==2.13.0" botorch pandas pooch
    holo/bin/pip install --no-deps "pytorch-holo==0.0.5"
    holo/bin/python tasks/ehrlich/compare.py tests/tasks/ehrlich_holo.npz

pytorch_holo-0.0.5-py3-none-any.whl (MIT licence) has the SHA-256
7cd9de5a02c7789f8ca1b45ffebf322313fba5b14616cb366c1e86383dabd3ca.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

VERSION = "0.0.5"
SEEDS = range(5)
SETTINGS = ((32, 32, 4, 4, 4, 0.0), (32, 128, 4, 4, 4, 0.0), (32, 256, 4, 8, 8, 0.0), (20, 30, 3, 6, 3, 0.7))
"""Of each function: states, length, motifs, their length, quantization, epistasis."""
DESIGNS = (1000, 600, 300, 100)
"""How many are recorded of each function: 10,000 in all."""


def designs(function: Any, n: int, rng: Generator) -> Tensor:
    """`n x L` designs: feasible ones of low score, the optimum, and the optimum with 0 to 8 tokens changed."""
    chain = function.initial_solution(n // 2)
    near = function.optimal_solution().repeat(n - len(chain), 1)
    for _ in range(8):
        rows = torch.rand(len(near), generator=rng) < torch.linspace(0, 1, len(near))
        place = torch.randint(function.dim, (len(near), 1), generator=rng)
        token = torch.randint(function.num_states, (len(near), 1), generator=rng)
        near = torch.where(rows[:, None], near.scatter(1, place, token), near)
    return torch.cat([chain, near])


def main() -> None:
    """Write designs and values of every function.

    Raises:
        RuntimeError: If another version of pytorch-holo is installed.
    """
    from holo.test_functions.closed_form import Ehrlich  # type: ignore[import-not-found]

    if (found := version("pytorch-holo")) != VERSION:
        raise RuntimeError(
            f"expected pytorch-holo {VERSION}, got {found}; pip install --no-deps pytorch-holo=={VERSION}"
        )
    record: dict[str, Any] = {}
    for (*sizes, quantization, epistasis), n in zip(SETTINGS, DESIGNS, strict=True):
        for seed in SEEDS:
            function = Ehrlich(*sizes, quantization, epistasis, random_seed=seed)
            x = designs(function, n, Generator().manual_seed(seed))
            name = "-".join(map(str, (*sizes, quantization, epistasis, seed)))
            record[f"{name} designs"] = x.numpy().astype(np.uint8)
            record[f"{name} values"] = function(x).numpy()
    np.savez_compressed(sys.argv[1], **record)
    print(f"{sum(map(len, record.values())) // 2} designs and values: {sys.argv[1]}")


if __name__ == "__main__":
    main()
