"""What a molecule is worth: callables of a string of SELFIES tokens, −inf where it is no molecule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from rdkit import Chem, DataStructs
from rdkit.Chem import QED
from rdkit.Chem.Crippen import MolLogP

from bbo_bench.molecules import MORGAN
from bbo_bench.smiles import molecule
from bbo_bench.tasks.molecule.chemistry import synthetic_accessibility

LARGE_RING = 6


class DrugLikeness:
    """Quantitative estimate of drug-likeness, QED, from 0 to 1 (Bickerton et al. 2012)."""

    def __call__(self, text: str) -> float:
        """The score of a string."""
        found = molecule(text)
        return -math.inf if found is None else float(QED.qed(found))


class PenalizedLogP:
    """Crippen's logP - SA score - atoms beyond six in the largest ring (Gómez-Bombarelli et al. 2018), as they are."""

    def __call__(self, text: str) -> float:
        """The score of a string."""
        found = molecule(text)
        if found is None:
            return -math.inf
        largest = max(map(len, found.GetRingInfo().AtomRings()), default=0)
        return float(MolLogP(found)) - synthetic_accessibility(found) - max(largest - LARGE_RING, 0)


@dataclass(frozen=True)
class SimilarityTimesQED:
    """Tanimoto similarity of Morgan fingerprints (radius 2, 2,048 bits) to a molecule, times QED.

    Attributes:
        target: SMILES of the molecule.
    """

    target: str

    def __call__(self, text: str) -> float:
        """The score of a string."""
        found = molecule(text)
        if found is None:
            return -math.inf
        similarity = DataStructs.TanimotoSimilarity(MORGAN.GetFingerprint(found), _fingerprint(self.target))
        return float(similarity * QED.qed(found))


@cache
def _fingerprint(smiles: str) -> DataStructs.ExplicitBitVect:
    return MORGAN.GetFingerprint(Chem.MolFromSmiles(smiles))
