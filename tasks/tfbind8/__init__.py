"""TF Bind 8: DNA of 8 base pairs that a transcription factor binds, over the complete measured landscape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bbo_bench.diffusion.codecs import OneHot
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.tasks.tfbind8.dna import OCTAMERS, counts, molecules, octamers, rank, reverse_complement
from bbo_bench.tasks.tfbind8.drawing import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FACTORS = ("six6", "egr2", "foxc1")
"""Transcription factors that were measured."""
WORDS = (1, 2, 3)
"""Lengths of the words that the features count."""


class TFBind8(DiffusionTask):
    """Binding of a transcription factor to DNA of 8 base pairs, scaled to [0, 1] over all of them.

    The prior is learnt from the sequences whose score is below the median.

    Args:
        factor: One of `FACTORS`.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: Best score; 1, as the landscape is complete.
        infeasible_score: Never needed: all sequences were measured.

    Raises:
        ValueError: If `factor` is unknown.
    """

    domain = OCTAMERS

    def __init__(
        self, factor: str, noise_std: float, y_prior: float, best_known: float, infeasible_score: float
    ) -> None:
        self.factor, self.noise_std, self.infeasible_score = factor, noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known
        if factor not in FACTORS:
            raise ValueError(f"factor must be one of {', '.join(FACTORS)}, got {factor!r}")
        with np.load(Path(__file__).with_name("tfbind8.npz")) as file:
            measured, held_out = torch.as_tensor(file[factor]), torch.as_tensor(file[f"{factor}_held_out"]).long()
        everything = octamers()
        low, high = measured.aminmax()
        self.scores = ((measured - low) / (high - low).double())[molecules()[1]]
        """True scores of all sequences in alphabetical order."""
        self._reference = everything[held_out]
        seen = self.scores < self.scores.median()
        seen[held_out] = seen[rank(reverse_complement(self._reference))] = False
        self._training = everything[seen]

    @property
    def folder(self) -> Path:
        """Where this factor's prior lies."""
        return super().folder / self.factor

    def training_data(self) -> Tensor:
        """`n x 8` sequences that score below the median, without both strands of those held out."""
        return self._training

    def reference(self) -> Tensor:
        """See `Task.reference`."""
        return self._reference

    def catalogue(self) -> tuple[Tensor, list[str]]:
        """See `Task.catalogue`: the sequences of the data."""
        x = torch.cat([self._reference, self._training])
        return x, [""] * len(x)

    def codec(self, data: Tensor | None = None) -> OneHot:
        """See `DiffusionTask.codec`."""
        return OneHot(self.domain)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        return self.scores[rank(x)]

    def valid(self, x: Tensor) -> Tensor:
        """All: every sequence of 8 base pairs is DNA."""
        return torch.ones(len(x), dtype=torch.bool)

    def features(self, x: Tensor) -> Tensor:
        """`n x 84` counts of the words of 1 to 3 letters, the mean over both strands: those of the molecule."""
        other = reverse_complement(x)
        return torch.cat([(counts(x, k) + counts(other, k)) / 2 for k in WORDS], 1)

    def canonical(self, x: Tensor) -> Tensor:
        """`n x 1` numbers of the molecules that `n x 8` sequences name: the lesser rank of the two strands."""
        return torch.minimum(rank(x), rank(reverse_complement(x)))[:, None]

    def best_design(self) -> Tensor:
        """See `Task.best_design`."""
        return octamers()[self.scores.argmax()]

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: the letters of the sequence in the colours of sequence logos."""
        draw(self.domain.text(x.detach().cpu()[None])[0], axes)
