"""tRNA-like sequences: the folding energy of an RNA, by ViennaRNA, which must stay a cloverleaf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bbo_bench.diffusion.codecs import OneHot
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Sequences
from bbo_bench.io import Format, Notation
from bbo_bench.parallel import pmap
from bbo_bench.tasks.rna.alignment import Profile, closed
from bbo_bench.tasks.rna.cloverleaf import GAP, POSITIONS, agreement, bases, distance
from bbo_bench.tasks.rna.drawing import draw
from bbo_bench.tasks.rna.folding import Fold, fold, pair_probabilities
from bbo_bench.tasks.rna.notation import dot_bracket_format, sequence_notation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALPHABET = (*"ACGU", GAP)
CORNERS = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1], [0, 0, 0]], dtype=torch.float32) / 8**0.5
"""The tokens as points: bases are the corners of a regular tetrahedron with edges of 1, a gap is its centre."""


class TRNA(DiffusionTask):
    """Stability of the fold of an RNA, the negative of its minimum free energy in kcal/mol at 37 °C.

    A design is a sequence over the 76 numbered positions of tRNAs (`POSITIONS`), each A, C, G, U or a gap. Gaps may be
    anywhere; they are closed before anything is computed, so that all that is said of a design is said of its molecule.

    Args:
        max_distance: Base pairs by which the fold of a valid design may differ from the cloverleaf.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: Best true score of a valid design known.
        infeasible_score: Never needed: every sequence folds, and one that cannot scores 0.
    """

    domain: Sequences

    def __init__(
        self, max_distance: int, noise_std: float, y_prior: float, best_known: float, infeasible_score: float
    ) -> None:
        self.max_distance = max_distance
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known
        self.domain = Sequences(len(POSITIONS), ALPHABET)
        with np.load(Path(__file__).with_name("trna.npz")) as file:
            designs, held_out = torch.as_tensor(file["x"]).long(), torch.as_tensor(file["held_out"])
        self._training, self._reference = designs[~held_out], designs[held_out]
        self._profile = Profile.fit(self._training)

    def training_data(self) -> Tensor:
        """`n x 76` sequences that fold into a cloverleaf, on which the prior is trained."""
        return self._training

    def reference(self) -> Tensor:
        """See `Task.reference`."""
        return self._reference

    def best_design(self) -> Tensor:
        """See `Task.best_design`."""
        with np.load(Path(__file__).with_name("best_known.npz")) as file:
            return torch.as_tensor(file["x"]).long()

    def codec(self, data: Tensor | None = None) -> OneHot:
        """See `DiffusionTask.codec`."""
        return OneHot(self.domain)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`; a design without bases scores 0, like any other that does not fold."""
        return torch.tensor([-each.energy for each in self.folds(x)], dtype=torch.double)

    def valid(self, x: Tensor) -> Tensor:
        """Whether the fold of least energy is a cloverleaf, give or take `max_distance` base pairs."""
        return self.distances(x) <= self.max_distance

    def folds(self, x: Tensor) -> list[Fold]:
        """The minimum free energy folds of `n x 76` designs."""
        return pmap(fold, [bases(design) for design in self.domain.text(x)])

    def distances(self, x: Tensor) -> Tensor:
        """Base-pair distances between the folds of `n x 76` designs and the cloverleaf where they fit it best."""
        return torch.tensor([distance(each.structure) for each in self.folds(x)], dtype=torch.long)

    def features(self, x: Tensor) -> Tensor:
        """`n x 237` coordinates of the tokens at the 79 positions that the family's profile gives them.

        The squared distance of two sequences counts where they differ.
        """
        return CORNERS[self._profile.align(x)].flatten(1)

    def canonical(self, x: Tensor) -> Tensor:
        """See `Task.canonical`: the gaps moved to the end."""
        return closed(x)

    def faults(self, x: Tensor) -> list[str]:
        """See `Task.faults`."""
        far = self.distances(x).tolist()
        return [f"{pairs} base pairs from a cloverleaf" if pairs > self.max_distance else "" for pairs in far]

    def catalogue(self) -> tuple[Tensor, list[str]]:
        """See `Task.catalogue`: the sequences of the data, which have no names."""
        x = torch.cat([self._reference, self._training])
        return x, [""] * len(x)

    def notation(self) -> Notation:
        """See `Task.notation`."""
        return sequence_notation(self.domain, self._profile)

    def formats(self) -> Mapping[str, Format]:
        """See `Task.formats`: folds in dots and brackets, written alone."""
        return {".dbn": dot_bracket_format(self.domain)}

    def validate(self, x: Tensor) -> Tensor:
        """F-score of the base pairs of the Boltzmann ensemble against those of the cloverleaf, from 0 to 1."""
        return torch.tensor(pmap(ensemble_agreement, self.domain.text(x)), dtype=torch.double)

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: the fold of least energy."""
        (design,) = self.domain.text(x[None])
        draw(bases(design), fold(bases(design)).structure, axes)


def ensemble_agreement(design: str) -> float:
    """`TRNA.validate` of a design of 76 characters."""
    return agreement(pair_probabilities(bases(design)))
