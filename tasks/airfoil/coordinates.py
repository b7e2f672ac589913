"""Airfoils as files of coordinates: in the order of Selig or of Lednicer, in chords or in percent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bbo_bench.domains import Box
from bbo_bench.io import Entry, Format, entry
from bbo_bench.tasks.airfoil.geometry import WEIGHTS, cosine_stations, outline, surfaces

COLUMNS = (
    *(f"lower_{i}" for i in range(1, WEIGHTS + 1)),
    *(f"upper_{i}" for i in range(1, WEIGHTS + 1)),
    "leading_edge",
    "trailing_edge",
)
"""Names of a design's numbers in a table of Kulfan's parameters."""
EXPECTED = (
    "expected a line with a name, or none, then pairs of numbers x y from one trailing edge around the nose to the "
    "other (Selig); or the two numbers of points, then each surface from the nose on (Lednicer)"
)
MAX_FIT_ERROR = 1e-3
"""Root mean square distance between fit and coordinates, in chords."""
PERCENT = 2.0
"""A chord that is longer is in percent."""

Points = npt.NDArray[np.float64]


def coordinates_format(domain: Box) -> Format:
    """One section per file; what is written is in Selig's order."""

    def read(content: bytes, column: str | None) -> list[Entry]:
        name, points = parse(content.decode(errors="replace"))
        return [entry(name, lambda: fitted(domain, points))]

    def write(x: Tensor, names: Sequence[str]) -> bytes:
        (name,) = names
        lines = [f"{forward:.8f} {up:.8f}" for forward, up in outline(x)[0].tolist()]
        return "\n".join([name, *lines, ""]).encode()

    return Format(read, write, single=True)


def parse(text: str) -> tuple[str, Points]:
    """The name of a section, empty where there is none, and its `n x 2` points in Selig's order.

    Raises:
        ValueError: If it is no such file.
    """
    lines = [line.strip() for line in text.splitlines()]
    rows = [_numbers(line) for line in lines]
    first = next((i for i, row in enumerate(rows) if row), len(rows))
    name = " ".join(line for line in lines[:first] if line)
    blank = [i for i in range(first, len(lines)) if not lines[i]]
    wrong = [i for i in range(first, len(lines)) if rows[i] is None and lines[i]]
    if wrong:
        raise ValueError(f"{EXPECTED}; got {lines[wrong[0]]!r}")
    points = np.array([row for row in rows if row is not None])
    if len(points) < 10:
        raise ValueError(f"{EXPECTED}; got {len(points)} points")
    above, below = points[0].round().astype(int)
    if points[0].min() > 1 and above + below == len(points) - 1:
        upper, lower = points[1 : above + 1], points[above + 1 :]
        points = np.concatenate([upper[::-1], lower[1:] if np.allclose(upper[0], lower[0]) else lower])
    elif blank and len(points) and any(first < i < len(lines) - 1 and any(lines[i:]) for i in blank):
        raise ValueError(f"{EXPECTED}; got an empty line between points, without the numbers of points before them")
    return name, points


def fitted(domain: Box, points: Points) -> Tensor:
    """The 18 numbers of the section through `n x 2` points, moved and turned so that its chord is 1.

    Raises:
        ValueError: If it is none, or not in the domain.
    """
    import aerosandbox as asb

    points = points / (100 if np.ptp(points[:, 0]) > PERCENT else 1)
    nose = int(points[:, 0].argmin())
    if not 2 < nose < len(points) - 3:
        raise ValueError("expected points from one trailing edge around the nose to the other")
    front, back = points[: nose + 1], points[nose:]
    if _mean_height(front) < _mean_height(back):
        points = points[::-1]
    x, error = kulfan_fit(asb.Airfoil("section", coordinates=points).normalize())
    if error > MAX_FIT_ERROR:
        raise ValueError(f"Kulfan's 18 numbers miss its points by {error:.4f} chords: it is no single smooth section")
    x = x.to(domain.lower.dtype)
    for name, value, low, high in zip(COLUMNS, x.tolist(), domain.lower.tolist(), domain.upper.tolist(), strict=True):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value:.4g}, where {low:.4g} to {high:.4g} is allowed")
    return x


def kulfan_fit(section: Any) -> tuple[Tensor, float]:
    """The 18 numbers of AeroSandbox's section, and the root mean square error of the fit in chords."""
    kulfan = section.to_kulfan_airfoil(n_weights_per_side=WEIGHTS)
    numbers = np.r_[kulfan.lower_weights, kulfan.upper_weights, kulfan.leading_edge_weight, kulfan.TE_thickness]
    x, stations = torch.as_tensor(numbers), cosine_stations(201)
    lower, upper = surfaces(x[None], stations)[0].numpy()
    sides = (section.lower_coordinates(), lower), (section.upper_coordinates()[::-1], upper)
    errors = [np.interp(points[:, 0], stations.numpy(), surface) - points[:, 1] for points, surface in sides]
    return x, float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def _mean_height(points: Points) -> float:
    order = points[:, 0].argsort()
    return float(np.interp(np.linspace(0.1, 0.9, 50), points[order, 0], points[order, 1]).mean())


def _numbers(line: str) -> list[float] | None:
    try:
        row = [float(cell) for cell in line.replace(",", " ").split()]
    except ValueError:
        return None
    return row if len(row) == 2 else None
