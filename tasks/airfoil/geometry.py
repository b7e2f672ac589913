"""Kulfan's CST sections: designs of 18 numbers as ordinates of their two surfaces.

A design holds 8 lower and 8 upper Bernstein weights from the leading to the trailing edge, the weight of the
leading-edge modification, and the thickness of the trailing edge in chords.

Source: B. Kulfan, "Universal Parametric Geometry Representation Method", Journal of Aircraft 45(1), 2008, and
"Modification of CST Airfoil Representation Methodology", 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WEIGHTS = 8
"""Bernstein weights per surface."""
DIM = 2 * WEIGHTS + 2
"""Numbers per design."""


def cosine_stations(n: int) -> Tensor:
    """`n` chordwise stations between 0 and 1, both included, dense at both edges, in double precision."""
    return (1 - torch.linspace(0, math.pi, n, dtype=torch.double).cos()) / 2


def cst_matrix(stations: Tensor) -> Tensor:
    """`18 x 2 x s` ordinates of unit designs at `s` stations, lower surface first: CST is linear in its numbers."""
    t = stations.unsqueeze(0)
    i = torch.arange(WEIGHTS, dtype=stations.dtype).unsqueeze(1)
    binomial = torch.tensor([math.comb(WEIGHTS - 1, k) for k in range(WEIGHTS)], dtype=stations.dtype).unsqueeze(1)
    bernstein = binomial * t**i * (1 - t) ** (WEIGHTS - 1 - i) * t.sqrt() * (1 - t)
    matrix = stations.new_zeros(DIM, 2, len(stations))
    matrix[:WEIGHTS, 0] = bernstein
    matrix[WEIGHTS : 2 * WEIGHTS, 1] = bernstein
    matrix[-2] = stations * (1 - stations) ** (WEIGHTS + 0.5)
    matrix[-1] = torch.stack((-stations, stations)) / 2
    return matrix


def surfaces(x: Tensor, stations: Tensor) -> Tensor:
    """`n x 2 x s` ordinates of `n x 18` designs at `s` stations, in chords, the lower surface first."""
    return torch.einsum("nd,dus->nus", x.to(stations.dtype), cst_matrix(stations))


def thickness(x: Tensor) -> Tensor:
    """`n x 199` thicknesses of `n x 18` designs in chords, between the edges; both edges themselves are left out."""
    lower, upper = surfaces(x, cosine_stations(201)[1:-1]).unbind(1)
    return upper - lower


def outline(x: Tensor) -> Tensor:
    """`n x 321 x 2` points of `n x 18` designs, from the upper trailing edge around the nose to the lower one."""
    stations = cosine_stations(161)
    lower, upper = surfaces(x, stations).unbind(1)
    chordwise = torch.cat((stations.flip(0), stations[1:])).expand(len(x), -1)
    return torch.stack((chordwise, torch.cat((upper.flip(1), lower[:, 1:]), 1)), dim=2)
