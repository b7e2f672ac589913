"""The test functions, on the boxes that are usual for them in the literature on high-dimensional optimization.

Sources: D. Ackley, "A Connectionist Machine for Genetic Hillclimbing", 1987; L. Rastrigin, "Systems of Extremal
Control", 1974; H. Rosenbrock, The Computer Journal 3(3), 1960; M. Laguna and R. Martí, Journal of Global Optimization
33, 2005 (Levy); L. Dixon and G. Szegö, "Towards Global Optimization", 1978 (Hartmann). The code is BoTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from botorch.test_functions.synthetic import Ackley, Hartmann, Levy, Rastrigin, Rosenbrock, SyntheticTestFunction

from bbo_bench.domains import Box
from bbo_bench.plugins import suggestion
from bbo_bench.seeding import single_precision


class Function(NamedTuple):
    """A function, the side of its box, and the dimensions in which it has a prior."""

    kind: Callable[..., SyntheticTestFunction]
    lower: float
    upper: float
    dims: tuple[int, ...] = (20, 200)


FUNCTIONS = {
    "ackley": Function(Ackley, -5, 10),
    "rastrigin": Function(Rastrigin, -5, 5),
    "rosenbrock": Function(Rosenbrock, -5, 10),
    "levy": Function(Levy, -10, 10),
    "hartmann": Function(Hartmann, 0, 1, (6,)),
}


@single_precision()  # in which BoTorch holds their constants
def make(name: str, dim: int) -> tuple[SyntheticTestFunction, Box]:
    """The named function of `dim` coordinates, negated so that higher is better, and its box.

    Raises:
        ValueError: If there is no such function, or it has no prior in so many dimensions.
    """
    if name not in FUNCTIONS:
        raise ValueError(f"there is no function {name!r}; {suggestion(name, FUNCTIONS)}")
    kind, lower, upper, dims = FUNCTIONS[name]
    if dim not in dims:
        raise ValueError(f"expected dim={' or '.join(map(str, dims))} for {name}, got {dim!r}")
    box = Box(torch.full((dim,), float(lower)), torch.full((dim,), float(upper)))
    return kind(dim=dim, negate=True, bounds=[(lower, upper)] * dim), box
