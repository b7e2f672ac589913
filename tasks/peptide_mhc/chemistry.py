"""The 20 amino acids, in the order of their letters, and what is known of them."""

from __future__ import annotations

import torch

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"

HYDROPATHY = torch.tensor(
    [1.8, 2.5, -3.5, -3.5, 2.8, -0.4, -3.2, 4.5, -3.9, 3.8, 1.9, -3.5, -1.6, -3.5, -4.5, -0.8, -0.7, 4.2, -0.9, -1.3]
)
"""Positive where a residue shuns water: J. Kyte and R. F. Doolittle, J. Mol. Biol. 157:105-132, 1982."""

Z_SCALES = torch.tensor(
    [
        [0.24, -2.32, 0.60, -0.14, 1.30],
        [0.84, -1.67, 3.71, 0.18, -2.65],
        [3.98, 0.93, 1.93, -2.46, 0.75],
        [3.11, 0.26, -0.11, -3.04, -0.25],
        [-4.22, 1.94, 1.06, 0.54, -0.62],
        [2.05, -4.06, 0.36, -0.82, -0.38],
        [2.47, 1.95, 0.26, 3.90, 0.09],
        [-3.89, -1.73, -1.71, -0.84, 0.26],
        [2.29, 0.89, -2.49, 1.49, 0.31],
        [-4.28, -1.30, -1.49, -0.72, 0.84],
        [-2.85, -0.22, 0.47, 1.94, -0.98],
        [3.05, 1.62, 1.04, -1.15, 1.61],
        [-1.66, 0.27, 1.84, 0.70, 2.00],
        [1.75, 0.50, -1.44, -1.34, 0.66],
        [3.52, 2.50, -3.50, 1.99, -0.17],
        [2.39, -1.07, 1.15, -1.39, 0.67],
        [0.75, -2.18, -1.12, -1.46, -0.40],
        [-2.59, -2.64, -1.54, -0.85, -0.02],
        [-4.36, 3.94, 0.59, 3.44, -1.59],
        [-2.54, 2.44, 0.43, 0.04, -1.47],
    ]
)
"""Five principal properties (the first three: lipophilicity, bulk, polarity): M. Sandberg et al., J. Med. Chem.
41:2481-2491, 1998."""

COLOURS = {
    "AVLIMC": "#b8b8b8",  # aliphatic
    "FWY": "#d9a441",  # aromatic
    "STNQGP": "#7fbf7b",  # polar, or small
    "KRH": "#6b9bd1",  # positive
    "DE": "#d9695f",  # negative
}
"""Groups of residues, and the colours they are drawn in."""
