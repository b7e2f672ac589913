"""Make trna.npz anew with Infernal: `python -m bbo_bench.tasks.rna.build_data [MODEL]`.

`cmemit` draws sequences from the covariance model of tRNAs (Rfam RF00005) that Infernal ships with its examples; on
Debian both come with `apt-get install infernal infernal-doc`. Kept are those that

- fit the 76 positions: bases are inserted at no other places, and no more of them, than the positions allow;
- fold into a cloverleaf by themselves: the ensemble defect against it is below 0.06. Most sequences of the model do
  not, as it knows nothing of energies, and real tRNAs are helped by modified bases and tertiary contacts.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from bbo_bench.parallel import pmap
from bbo_bench.tasks.rna.cloverleaf import GAP, POSITIONS, bases, distance, target
from bbo_bench.tasks.rna.folding import ensemble_defect, fold

MODEL = Path("/usr/share/doc/infernal/examples/testsuite/tRNA.c.cm")
MODEL_SHA256 = "34188568122df0f201467b4ead69af0f288f195c85789462b8452693ffd7d0c5"
"""Of the model in Infernal 1.1.4."""
TARGET = Path(__file__).with_name("trna.npz")

ALPHABET = "ACGU-"
INSERTED = {"16": ("17", "17a"), "20": ("20a", "20b"), "46": ("47",)}
"""Positions that are insertions to the model, after those that are its columns."""
COLUMNS = [p for p in POSITIONS if not any(p in inserted for inserted in INSERTED.values())]
EMITTED, SEED = 800_000, 1
FAR = 10
"""Base pairs from the cloverleaf beyond which the ensemble is not computed."""
MAX_DEFECT = 0.06
KEPT, HELD_OUT = 5000, 512
BATCH = 2000


def emit(model: Path, n: int) -> list[str]:
    """`n` sequences of the model, aligned: capitals and gaps in its columns, small letters between them."""
    command = ["cmemit", "-a", "--outformat", "a2m", "-N", str(n), "--seed", str(SEED), str(model)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return ["".join(entry.split("\n")[1:]).replace(".", "") for entry in output.split(">")[1:]]


def place(aligned: str) -> str | None:
    """The design of 76 characters of an aligned sequence, or None if it does not fit."""
    held = dict.fromkeys(POSITIONS, GAP)
    columns = iter(COLUMNS)
    free: Iterator[str] = iter(())
    for base in aligned:
        if base.islower():
            position = next(free, None)
            if position is None:
                return None
        else:
            position = next(columns)
            free = iter(INSERTED.get(position, ()))
        held[position] = base.upper()
    return "".join(held.values())


def folds(design: str) -> bool:
    """Whether a design folds into a cloverleaf, with little probability of anything else."""
    sequence = bases(design)
    if distance(fold(sequence).structure) > FAR:
        return False
    return ensemble_defect(sequence, target(design)) < MAX_DEFECT


def folding(designs: list[str]) -> Iterator[str]:
    """Those of some designs that fold."""
    for start in range(0, len(designs), BATCH):
        batch = designs[start : start + BATCH]
        yield from (design for design, kept in zip(batch, pmap(folds, batch), strict=True) if kept)


def main() -> None:
    """Build the data and write them."""
    model = Path(sys.argv[1]) if len(sys.argv) > 1 else MODEL
    if not model.exists():
        raise SystemExit(
            f"expected Infernal's tRNA model at {model}; name its path, or install infernal and infernal-doc"
        )
    if (digest := hashlib.sha256(model.read_bytes()).hexdigest()) != MODEL_SHA256:
        raise SystemExit(f"expected the model of SHA-256 {MODEL_SHA256}, got {digest}")
    placed = list(dict.fromkeys(filter(None, map(place, emit(model, EMITTED)))))
    kept = list(islice(folding(placed), KEPT))
    number = np.zeros(128, np.uint8)
    number[np.frombuffer(ALPHABET.encode(), np.uint8)] = np.arange(len(ALPHABET))
    x = number[np.frombuffer("".join(kept).encode(), np.uint8)].reshape(-1, len(POSITIONS))
    held_out = np.arange(len(x)) < HELD_OUT  # the sequences are drawn independently
    np.savez_compressed(TARGET, x=x, held_out=held_out)
    print(f"{EMITTED} sequences, {len(placed)} distinct ones that fit, {len(x)} kept, {HELD_OUT} held out: {TARGET}")


if __name__ == "__main__":
    main()
