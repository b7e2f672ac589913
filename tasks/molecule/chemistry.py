"""What MOSES keeps of molecules: its elements and filters; and the synthetic accessibility of a molecule.

Sources: Ertl and Schuffenhauer, "Estimation of
synthetic accessibility score of drug-like molecules", 2009; Polykovskiy et al., "Molecular Sets (MOSES)", 2020.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rdkit import Chem, DataStructs, RDConfig

from bbo_bench.molecules import BITS
from bbo_bench.smiles import molecule

ELEMENTS = frozenset(("C", "N", "S", "O", "F", "Cl", "Br", "H"))
"""What a molecule of MOSES is made of."""
LARGEST_RING = 7

Words = npt.NDArray[np.uint64]


def accessibility(text: str) -> float:
    """The SA score of a SMILES string."""
    return synthetic_accessibility(Chem.MolFromSmiles(text))


def synthetic_accessibility(found: Chem.Mol) -> float:
    """The SA score by Ertl and Schuffenhauer: from 1, easy to make, to 10."""
    return float(_sascorer().calculateScore(found))


def natural(text: str) -> bool:
    """Whether a string of SELFIES tokens is a molecule that MOSES would keep.

    It has the elements of MOSES, neither charges nor unpaired electrons, no ring of more than 7 atoms, and nothing
    that the medicinal chemistry filters or PAINS match.
    """
    return not fault(text)


def fault(text: str) -> str:
    """Why MOSES would not keep the molecule of a string of SELFIES tokens; empty if it would."""
    found = molecule(text)
    if found is None:
        return "no molecule"
    if largest := max((len(ring) for ring in found.GetRingInfo().AtomRings() if len(ring) > LARGEST_RING), default=0):
        return f"a ring of {largest} atoms"
    for atom in found.GetAtoms():
        if atom.GetSymbol() not in ELEMENTS:
            return f"has {atom.GetSymbol()}"
        if atom.GetFormalCharge():
            return "has a charge"
        if atom.GetNumRadicalElectrons():
            return "has an unpaired electron"
    return _filters().match(found)


class _Filters(NamedTuple):
    """Unwanted substructures, and the bits of the pattern fingerprint that a molecule with one must have."""

    names: list[str]
    patterns: list[Chem.Mol]
    bits: Words

    def match(self, found: Chem.Mol) -> str:
        """The first that a molecule has, or nothing; only those are looked for that the fingerprint leaves possible."""
        possible = np.flatnonzero(~(self.bits & ~_pattern_bits(found)).any(1))
        return next((f"filter {self.names[i]}" for i in possible if found.HasSubstructMatch(self.patterns[i])), "")


@cache
def _filters() -> _Filters:
    """MOSES's, written for explicit hydrogens, which are merged into the atoms so that others match too."""
    with np.load(Path(__file__).with_name("filters.npz")) as file:
        patterns = [Chem.MergeQueryHs(Chem.MolFromSmarts(str(pattern))) for pattern in file["smarts"]]
        names = [str(name) for name in file["name"]]
    return _Filters(names, patterns, np.stack([_pattern_bits(pattern) for pattern in patterns]))


def _pattern_bits(found: Chem.Mol) -> Words:
    return np.frombuffer(DataStructs.BitVectToBinaryText(Chem.PatternFingerprint(found, fpSize=BITS)), np.uint64)


@cache
def _sascorer() -> Any:
    """RDKit's contributed module, which lies outside its package."""
    folder = os.path.join(RDConfig.RDContribDir, "SA_Score")
    sys.path.append(folder)
    try:
        return import_module("sascorer")
    finally:
        sys.path.remove(folder)
