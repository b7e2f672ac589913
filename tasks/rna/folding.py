"""ViennaRNA: minimum free energy folds and Boltzmann ensembles of RNA sequences, at 37 °C.

Source: R. Lorenz et al., "ViennaRNA Package 2.0", Algorithms for Molecular Biology 6:26, 2011. What is left open, the
library takes from its global variables, so all details and energies are given.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import RNA

PARAMETERS = "RNA - Turner 2004"
if RNA.last_parameter_file() not in (None, PARAMETERS):
    raise RuntimeError(
        f"expected ViennaRNA with its energy parameters {PARAMETERS!r}, got {RNA.last_parameter_file()!r}; "
        "make the task before you load others"
    )
MODEL = RNA.md(
    **dict(temperature=37.0, betaScale=1.0, pf_smooth=1, dangles=2, special_hp=1, logML=0, energy_set=0, gquad=0),
    **dict(noLP=0, noGU=0, noGUclosure=0, circ=0, circ_penalty=1, uniq_ML=0, min_loop_size=3, max_bp_span=-1),
    **dict(backtrack=1, backtrack_type="F", compute_bpp=1, window_size=-1, sfact=1.07),
    **dict(oldAliEn=0, ribo=0, cv_fact=1.0, nc_fact=1.0, helical_rise=2.8, backbone_length=6.0),
    **dict(salt=1.021, saltMLLower=6, saltMLUpper=24, saltDPXInit=99999, saltDPXInitFact=-45.324),
)
"""The defaults of ViennaRNA 2.8.0; a detail left out is taken from `RNA.cvar`."""
ENERGIES, WEIGHTS = RNA.param(MODEL), RNA.exp_param(MODEL)
"""Of Turner 2004; a later `RNA.params_load` does not reach them."""


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
    structure, energy = _compound(sequence).mfe()
    return Fold(structure, round(energy, 2))  # a multiple of 0.01 in single precision


def pair_probabilities(sequence: str) -> npt.NDArray[np.float64]:
    """`n x n` probabilities of the pairs `(i, j)`, i < j, in the Boltzmann ensemble of all structures."""
    if not sequence:
        return np.zeros((0, 0))
    return np.array(_ensemble(sequence).bpp())[1:, 1:]


def ensemble_defect(sequence: str, structure: str) -> float:
    """Expected share of the bases of a sequence that are not paired, or left unpaired, as a structure says.

    The expectation is over the Boltzmann ensemble of all structures (J. N. Zadeh et al., Journal of Computational
    Chemistry 32:439, 2011).
    """
    return float(_ensemble(sequence).ensemble_defect(structure))


def _ensemble(sequence: str) -> RNA.fold_compound:
    """With its partition function filled."""
    compound = _compound(sequence)
    _, energy = compound.mfe()
    compound.exp_params_rescale(energy)
    compound.pf()
    return compound


def _compound(sequence: str) -> RNA.fold_compound:
    compound = RNA.fold_compound(sequence, MODEL)
    compound.params_subst(ENERGIES)
    compound.exp_params_subst(WEIGHTS)
    return compound
