"""Make airfoils.npz anew from the UIUC database that AeroSandbox ships: `python -m bbo_bench.tasks.airfoil.build_data`.

The database has 2,174 sections. Each is fitted with 18 Kulfan numbers, and those are left out that are no usable
single-element airfoil: fits that miss the coordinates, surfaces that cross, struts, blunt bodies, and weights that
oscillate because the coordinates are too few.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bbo_bench.tasks.airfoil.coordinates import MAX_FIT_ERROR, kulfan_fit
from bbo_bench.tasks.airfoil.geometry import cosine_stations, surfaces, thickness

VERSION = "4.2.10"
DATABASE_SHA256 = "7c23dbee41d2b8d686c0fbc2adb232dfa516174572335bbb0d665652bc57f4ff"
TARGET = Path(__file__).with_name("airfoils.npz")

MAX_THICKNESS = 0.35
MAX_TRAILING_EDGE = 0.05
MAX_WEIGHT = 1.25
NEAR_DUPLICATE = 5e-4
"""Root mean square distance, in chords, below which two sections stay on one side of the split."""
HELD_OUT = 0.1
SEED = 0

Array = npt.NDArray[np.float64]


def fit(name: str) -> tuple[Array, float]:
    """The 18 Kulfan numbers of a section of the database, and the root mean square error of the fit in chords."""
    import aerosandbox as asb

    x, error = kulfan_fit(asb.Airfoil(name).normalize())
    return x.numpy(), error


def usable(x: Array, errors: Array) -> npt.NDArray[np.bool_]:
    """Which of `n x 18` fitted designs are airfoils, given their `n` errors."""
    section = thickness(torch.as_tensor(x)).numpy()
    tests = (
        errors < MAX_FIT_ERROR,
        section.min(1) > 0,
        section.max(1) < MAX_THICKNESS,
        x[:, -1] < MAX_TRAILING_EDGE,
        np.abs(x[:, :-1]).max(1) < MAX_WEIGHT,
    )
    kept: npt.NDArray[np.bool_] = np.logical_and.reduce(tests)
    return kept


def held_out(x: Array) -> npt.NDArray[np.bool_]:
    """Marks about a tenth of `n x 18` designs, near-duplicates (single linkage) always together."""
    from scipy.cluster.hierarchy import fcluster, linkage

    shapes = surfaces(torch.as_tensor(x), cosine_stations(101)).flatten(1).numpy()
    cluster = fcluster(linkage(shapes / np.sqrt(shapes.shape[1]), "single"), NEAR_DUPLICATE, "distance") - 1
    order = np.random.default_rng(SEED).permutation(cluster.max() + 1)
    before = np.cumsum(np.bincount(cluster)[order]) <= HELD_OUT * len(x)
    return np.isin(cluster, order[before])


def main() -> None:
    """Fit, filter, split and write.

    Raises:
        RuntimeError: If the installed AeroSandbox ships another database.
    """
    import aerosandbox as asb

    files = sorted((Path(asb.__file__).parent / "geometry/airfoil/airfoil_database").glob("*.dat"))
    digest = hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()
    if digest != DATABASE_SHA256:
        raise RuntimeError(
            f"expected the database of AeroSandbox {VERSION} (SHA-256 {DATABASE_SHA256}), got {digest} from "
            f"{asb.__version__}; pip install AeroSandbox=={VERSION}"
        )
    names = np.array([file.stem for file in files])
    fits = [fit(name) for name in names]
    x, errors = np.array([x for x, _ in fits]), np.array([error for _, error in fits])
    keep = usable(x, errors)
    apart = held_out(x[keep])
    np.savez_compressed(TARGET, name=names[keep], x=x[keep].astype(np.float32), held_out=apart)
    print(f"{len(files)} sections, {keep.sum()} usable, {apart.sum()} held out: {TARGET}")


if __name__ == "__main__":
    main()
