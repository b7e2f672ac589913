"""Molecules as SELFIES: drug-likeness, penalized logP, or likeness to celecoxib, by RDKit, within MOSES's filters."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Sequences
from bbo_bench.io import Format, Notation, lines_format
from bbo_bench.parallel import pmap
from bbo_bench.seeding import generator
from bbo_bench.tasks.molecule import chemistry
from bbo_bench.tasks.molecule.autoencoder import Autoencoder
from bbo_bench.tasks.molecule.notation import sdf_format, selfies_notation, smiles_notation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEATURES = 512
PICTURE = 400
"""Pixels on the side of a drawing."""


class Molecule(DiffusionTask):
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

    def features(self, x: Tensor) -> Tensor:
        """`n x 512` random projections of Morgan fingerprints of unit length.

        The squared distance of two molecules is about 2 - 2c, where c is the cosine of their fingerprints, which is
        2s / (1 + s) for fingerprints of one size and of Tanimoto similarity s. What is no molecule lies at the origin.
        """
        bits = self._fingerprints(x)
        directions = torch.randn(chemistry.BITS, FEATURES, generator=generator(0, "features"), dtype=torch.double)
        features: Tensor = bits / bits.norm(dim=1, keepdim=True).clamp_min(1) @ directions / FEATURES**0.5
        return features

    def canonical(self, x: Tensor) -> Tensor:
        """`n x 1` digests of canonical SMILES: one molecule can be written in many ways."""
        names = pmap(chemistry.smiles, self.domain.text(x))
        digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
        numbers = [int.from_bytes(digest, "big", signed=True) for digest in digests]
        return torch.tensor(numbers, dtype=torch.long)[:, None]

    def metrics(self, x: Tensor) -> dict[str, float]:
        """Mean SA score, mean Tanimoto distance of the pairs, and the Fréchet ChemNet distance to the reference.

        Of what is a molecule: NaN where there is none, or no pair. The last is NaN without the package `fcd_torch`.
        """
        found = pmap(chemistry.smiles, self.domain.text(x))
        names, bits = [name for name in found if name], self._fingerprints(x)[[bool(name) for name in found]]
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
        """See `Task.catalogue`: the molecules of the data, which have no names."""
        x = torch.cat([self._reference, self._training])
        return x, [""] * len(x)

    def notation(self) -> Notation:
        """See `Task.notation`: SMILES, canonical where it is written."""
        return smiles_notation(self.domain)

    def formats(self) -> Mapping[str, Format]:
        """See `Task.formats`."""
        lines = lines_format(self.notation())
        return {
            ".smi": lines,
            ".smiles": lines,
            ".selfies": lines_format(selfies_notation(self.domain)),
            ".sdf": sdf_format(self.domain),
        }

    def best_design(self) -> Tensor | None:
        """See `Task.best_design`: `best_known.py` has found it."""
        with np.load(Path(__file__).with_name("best_known.npz")) as file:
            x = torch.as_tensor(np.stack([file[name] for name in file.files])).long()
        score, i = self.evaluate(x).max(0)
        return x[i] if abs(float(score) - self.best_known) < 1e-3 else None

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: the structural formula."""
        from rdkit.Chem.Draw import MolToImage

        found = chemistry.molecule(self.domain.text(x[None])[0])
        axes.set_axis_off()
        if found is None:
            axes.text(0.5, 0.5, "no molecule", ha="center", va="center", transform=axes.transAxes)
        else:
            axes.imshow(np.asarray(MolToImage(found, (PICTURE, PICTURE))))

    def _fingerprints(self, x: Tensor) -> Tensor:
        bits = pmap(chemistry.fingerprint, self.domain.text(x))
        return torch.tensor(np.array(bits, dtype=np.uint8)).reshape(-1, chemistry.BITS).double()

    def _chemnet_distance(self, names: list[str]) -> float:
        """To the reference; NaN for fewer than two molecules."""
        try:
            from fcd_torch import FCD
        except ImportError:
            return math.nan
        if len(names) < 2:
            return math.nan
        real = pmap(chemistry.smiles, self.domain.text(self._reference))
        return float(FCD(device="cpu", n_jobs=1, canonize=False)(real, names))
