"""Molecules as SELFIES: drug-likeness, penalized logP, or likeness to celecoxib, by RDKit, within MOSES's filters."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bbo_bench.domains import Sequences
from bbo_bench.molecules import Molecular
from bbo_bench.parallel import pmap
from bbo_bench.smiles import smiles
from bbo_bench.tasks.molecule import chemistry
from bbo_bench.tasks.molecule.autoencoder import Autoencoder

SHOWN = 5
"""One of how many molecules is compared with a design: RDKit needs a millisecond for each."""


class Molecule(Molecular):
    """A score of molecules, written as 48 tokens of SELFIES, which the padding token `[nop]` fills up.

    A string that is no molecule, for instance one of padding alone, is infeasible. Padding in the middle is skipped.

    Args:
        score: The score of a string of tokens, −inf where it is no molecule; a callable that can be pickled.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: Best true score of a valid design known.
        infeasible_score: What a string that is no molecule counts as.
    """

    domain: Sequences

    def __init__(
        self,
        score: Callable[[str], float],
        noise_std: float,
        y_prior: float,
        best_known: float,
        infeasible_score: float,
    ) -> None:
        self.score = score
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known
        with np.load(Path(__file__).with_name("molecules.npz")) as file:
            x, held_out = torch.as_tensor(file["x"]).long(), torch.as_tensor(file["held_out"])
            self._words = file["words"].tolist()
            self.domain = Sequences(x.shape[1], file["alphabet"].tolist())
        self._training, self._reference = x[~held_out], x[held_out]

    def training_data(self) -> Tensor:
        """`n x 48` real molecules on which the prior is trained."""
        return self._training

    def reference(self) -> Tensor:
        """See `Task.reference`."""
        return self._reference

    def codec(self, data: Tensor | None = None) -> Autoencoder:
        """See `DiffusionTask.codec`."""
        blank = Autoencoder(self.domain, self._words)
        return blank if data is None else blank.fit(data)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        return torch.tensor(pmap(self.score, self.domain.text(x)), dtype=torch.double)

    def valid(self, x: Tensor) -> Tensor:
        """Whether RDKit can make the molecule, and MOSES would keep it; see `chemistry.natural`."""
        return torch.tensor(pmap(chemistry.natural, self.domain.text(x)), dtype=torch.bool)

    def metrics(self, x: Tensor) -> dict[str, float]:
        """Mean SA score, mean Tanimoto distance of the pairs, and the Fréchet ChemNet distance to the reference.

        Of what is a molecule: NaN where there is none, or no pair. The last is NaN without the package `fcd_torch`.
        """
        found = pmap(smiles, self.domain.text(x))
        names, bits = [name for name in found if name], self.fingerprints(x)[[bool(name) for name in found]]
        common, size = bits @ bits.T, bits.sum(1)
        alike = (common / (size[:, None] + size - common)).fill_diagonal_(0).sum()
        pairs = len(names) * (len(names) - 1)
        return {
            "sa": float(np.mean(pmap(chemistry.accessibility, names))) if names else math.nan,
            "tanimoto": 1 - float(alike) / pairs if pairs else math.nan,
            "fcd": self._chemnet_distance(names),
        }

    def faults(self, x: Tensor) -> list[str]:
        """See `Task.faults`."""
        return pmap(chemistry.fault, self.domain.text(x))

    def catalogue(self) -> tuple[Tensor, list[str]]:
        """See `Task.catalogue`: the held-out molecules and every fifth other one, which have no names."""
        x = torch.cat([self._reference, self._training[::SHOWN]])
        return x, [""] * len(x)

    def best_design(self) -> Tensor | None:
        """See `Task.best_design`: `best_known.py` has found it."""
        with np.load(Path(__file__).with_name("best_known.npz")) as file:
            x = torch.as_tensor(np.stack([file[name] for name in file.files])).long()
        score, i = self.evaluate(x).max(0)
        return x[i] if abs(float(score) - self.best_known) < 1e-3 else None

    def _chemnet_distance(self, names: list[str]) -> float:
        """To the reference; NaN for fewer than two molecules."""
        try:
            from fcd_torch import FCD
        except ImportError:
            return math.nan
        if len(names) < 2:
            return math.nan
        real = pmap(smiles, self.domain.text(self._reference))
        return float(FCD(device="cpu", n_jobs=1, canonize=False)(real, names))
