"""ViennaRNA: minimum free energy folds and Boltzmann ensembles of RNA sequences, at 37 °C.

Source: R. Lorenz et al., "ViennaRNA Package 2.0", Algorithms for Molecular Biology 6:26, 2011.
"""

from __future__ import annotations

from typing import NamedTuple

import RNA


class Fold(NamedTuple):
    """The secondary structure of least free energy."""

    structure: str
    """In dots and brackets."""
    energy: float
    """In kcal/mol; 0 for the open chain."""


def fold(sequence: str) -> Fold:
    """The minimum free energy fold of a sequence; of no bases, it is empty and has no energy."""
    if not sequence:
        return Fold("", 0.0)
    structure, energy = RNA.fold_compound(sequence).mfe()
    return Fold(structure, round(energy, 2))  # a multiple of 0.01 in single precision


def ensemble_defect(sequence: str, structure: str) -> float:
    """Expected share of the bases of a sequence that are not paired, or left unpaired, as a structure says.

    The expectation is over the Boltzmann ensemble of all structures (J. N. Zadeh et al., Journal of Computational
    Chemistry 32:439, 2011).
    """
    compound = RNA.fold_compound(sequence)
    _, energy = compound.mfe()
    compound.exp_params_rescale(energy)
    compound.pf()
    return float(compound.ensemble_defect(structure))
