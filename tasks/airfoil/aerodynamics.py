"""NeuralFoil: the lift, drag and trustworthiness of airfoil sections.

Source: P. Sharpe and R. J. Hansman, "NeuralFoil: An Airfoil Aerodynamics Analysis Tool Using Physics-Informed Machine
Learning", arXiv:2503.16323, 2025.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bbo_bench.tasks.airfoil.geometry import WEIGHTS


class Flow(NamedTuple):
    """The flow around `n` sections, each an `n`-dim double tensor."""

    lift_to_drag: Tensor
    confidence: Tensor
    """NeuralFoil's estimate of the probability that XFoil would converge; it falls to 0 far from real sections."""


def neuralfoil(x: Tensor, alpha: float, reynolds: float, model_size: str) -> Flow:
    """Lift over drag and analysis confidence of `n x 18` designs.

    Args:
        x: Kulfan numbers.
        alpha: Angle of attack in degrees.
        reynolds: Reynolds number of the chord.
        model_size: NeuralFoil's network, from `xxsmall` to `xxxlarge`.
    """
    from neuralfoil import get_aero_from_kulfan_parameters  # takes seconds to import

    if not len(x):  # NeuralFoil takes no empty arrays
        return Flow(torch.zeros(0, dtype=torch.double), torch.zeros(0, dtype=torch.double))
    design = x.detach().double().numpy().T
    section = {
        "lower_weights": design[:WEIGHTS],
        "upper_weights": design[WEIGHTS : 2 * WEIGHTS],
        "leading_edge_weight": design[-2],
        "TE_thickness": design[-1],
    }
    flow = get_aero_from_kulfan_parameters(section, alpha=alpha, Re=reynolds, model_size=model_size)
    return Flow(torch.as_tensor(flow["CL"] / flow["CD"]), torch.as_tensor(flow["analysis_confidence"]))
