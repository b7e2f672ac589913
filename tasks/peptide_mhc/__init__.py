"""Peptides that bind HLA-A*02:01: the affinity of nine residues, by the network MHCnuggets."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bbo_bench.diffusion.codecs import OneHot
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Sequences
from bbo_bench.tasks.peptide_mhc.chemistry import COLOURS, HYDROPATHY, RESIDUES, Z_SCALES
from bbo_bench.tasks.peptide_mhc.network import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ANCHORS = (2, 9)
"""Positions, from 1, whose side chains the pockets B and F of the molecule hold."""
BINDER = 1 - math.log(500, 50_000)
"""Score of an IC50 of 500 nM, the usual threshold of binding."""
MAX_REPEATS = 4
"""How often one residue may occur."""
HYDROPHOBIC = 0.99
"""Share of the natural peptides that are less hydrophobic than a valid one may be."""


class PeptideMHC(DiffusionTask):
    """Predicted affinity of 9-mers to HLA-A*02:01: 1 - log IC50 to the base of 50,000, with IC50 in nM.

    Args:
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: Best true score known.
        best_peptide: The peptide that has it.
        infeasible_score: Never needed: the network gives every peptide a number.
    """

    domain: Sequences

    def __init__(
        self, noise_std: float, y_prior: float, best_known: float, best_peptide: str, infeasible_score: float
    ) -> None:
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known, self.best_peptide = y_prior, best_known, best_peptide
        folder = Path(__file__).parent
        with np.load(folder / "peptides.npz") as file:
            peptides, held_out, measured, scores = (
                torch.as_tensor(file[name]) for name in ("x", "held_out", "measured", "measured_score")
            )
        self._designs = peptides.long()
        self._training, self._reference = self._designs[~held_out], self._designs[held_out]
        self._scores = dict(zip(map(bytes, measured.numpy()), scores.tolist(), strict=True))
        self._network = Network(folder / "network.npz")
        self.domain = Sequences(self._designs.shape[1], RESIDUES)

    def training_data(self) -> Tensor:
        """`n x 9` natural peptides, none of them known to bind, on which the prior is trained."""
        return self._training

    def reference(self) -> Tensor:
        """See `Task.reference`."""
        return self._reference

    def codec(self, data: Tensor | None = None) -> OneHot:
        """See `DiffusionTask.codec`."""
        return OneHot(self.domain)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        return self._network(x)

    def valid(self, x: Tensor) -> Tensor:
        """Whether a peptide can be made and dissolved: not too hydrophobic, and no residue more than four times."""
        repeats = torch.stack([(x == residue).sum(1) for residue in range(len(RESIDUES))]).amax(0)
        return (hydropathy(x) <= self.limit) & (repeats <= MAX_REPEATS)

    def faults(self, x: Tensor) -> list[str]:
        """See `Task.faults`."""
        repeats = torch.stack([(x == residue).sum(1) for residue in range(len(RESIDUES))]).amax(0)
        found = zip((hydropathy(x) > self.limit).tolist(), (repeats > MAX_REPEATS).tolist(), strict=True)
        return [
            "too hydrophobic" if greasy else f"a residue more than {MAX_REPEATS} times" if same else ""
            for greasy, same in found
        ]

    def catalogue(self) -> tuple[Tensor, list[str]]:
        """See `Task.catalogue`: the peptides of the data."""
        return self._designs, [""] * len(self._designs)

    @cached_property
    def limit(self) -> float:
        """The greatest mean hydropathy of a valid peptide."""
        return float(hydropathy(self._designs).quantile(HYDROPHOBIC))

    def features(self, x: Tensor) -> Tensor:
        """`n x 45`: the five z-scales of each residue, in which like residues are close."""
        return Z_SCALES[x].flatten(1)

    def metrics(self, x: Tensor) -> dict[str, float]:
        """Share of peptides predicted to bind, and the mean number of substitutions to the nearest natural peptide."""
        substitutions = torch.cdist(x.float(), self._training.float(), p=0).amin(1)
        return {
            "binders": float((self.evaluate(x) >= BINDER).double().mean()),
            "substitutions": float(substitutions.double().mean()),
        }

    def validate(self, x: Tensor) -> Tensor:
        """The measured affinity of peptides that were measured, on the scale of the score; NaN for all others."""
        keys = map(bytes, x.to(torch.uint8).numpy())
        return torch.tensor([self._scores.get(key, math.nan) for key in keys], dtype=torch.double)

    def best_design(self) -> Tensor:
        """See `Task.best_design`."""
        return self.domain.parse([self.best_peptide])[0]

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: residues coloured by their chemistry, the anchors framed and numbered."""
        (peptide,) = self.domain.text(x[None])
        for position, residue in enumerate(peptide, 1):
            anchor = position in ANCHORS
            (colour,) = (colour for group, colour in COLOURS.items() if residue in group)
            edge, line = ("0.1", 2) if anchor else ("white", 1)
            axes.bar(position, 1, width=0.9, color=colour, edgecolor=edge, linewidth=line, zorder=1 + anchor)
            axes.text(position, 0.5, residue, ha="center", va="center", family="monospace", zorder=3)
            if anchor:
                axes.text(position, -0.1, str(position), ha="center", va="top", fontsize="x-small")
        axes.set(xlim=(0.4, self.domain.length + 0.6), ylim=(-0.6, 1.1), aspect="equal")
        axes.set_axis_off()


def hydropathy(x: Tensor) -> Tensor:
    """Mean Kyte-Doolittle hydropathy of `n x 9` peptides."""
    return HYDROPATHY[x].mean(1)
