"""MHCnuggets: the affinity of peptides to an MHC molecule, by a recurrent network.

Source: X. M. Shao et al., "High-Throughput Prediction of MHC Class I and II Neoantigens with MHCnuggets", Cancer
Immunology Research 8:396-408, 2020. The weights are those of its package; the code is not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SOFT = 0.9
"""The network sees 0.9 of the letter at a position, and an equal part of the rest of each other letter."""
BATCH = 512
"""Peptides at a time: the processor's cache then holds the network's state."""


class Network:
    """An LSTM layer of `h` units, a dense one with tanh, and a sigmoid.

    The package pads peptides at their end and masks the padding, on which nothing depends; here there is none.

    Args:
        file: An `.npz` with `kernel` (`a x 4h`, for `a` letters and the input, forget, candidate and output gates),
            `recurrent` (`h x 4h`), `bias` (`4h`), `dense` (`h x h`), `dense_bias`, `out` (`h x 1`) and `out_bias`.
    """

    def __init__(self, file: Path) -> None:
        with np.load(file) as arrays:
            weights = {name: torch.as_tensor(arrays[name]) for name in arrays.files}
        kernel = weights["kernel"]
        rest = (1 - SOFT) / (len(kernel) - 1)
        self.letters = (SOFT - rest) * kernel + rest * kernel.sum(0) + weights["bias"]
        self.recurrent = weights["recurrent"]
        self.dense, self.dense_bias = weights["dense"], weights["dense_bias"]
        self.out, self.out_bias = weights["out"], weights["out_bias"]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Predicted affinities of `n x L` peptides, an `n`-dim double tensor in (0, 1)."""
        return torch.cat([self._affinity(peptides) for peptides in torch.split(x, BATCH)]).double()

    def _affinity(self, x: Tensor) -> Tensor:
        h = c = self.recurrent.new_zeros(len(x), len(self.recurrent))
        for position, letter in enumerate(x.T):
            gates = self.letters[letter]
            if position:
                gates = gates.addmm_(h, self.recurrent)
            i, f, candidate, o = gates.chunk(4, 1)
            c = hard_sigmoid(f) * c + hard_sigmoid(i) * candidate.tanh()
            h = hard_sigmoid(o) * c.tanh()
        hidden = torch.addmm(self.dense_bias, h, self.dense).tanh()
        return torch.addmm(self.out_bias, hidden, self.out).sigmoid().squeeze(1)


def hard_sigmoid(z: Tensor) -> Tensor:
    """The piecewise linear sigmoid of Keras 2, with which the network was trained."""
    return (0.2 * z + 0.5).clamp(0, 1)
