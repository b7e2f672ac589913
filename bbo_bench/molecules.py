"""Tasks whose designs are molecules, as strings of SELFIES tokens: their features, pictures and files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from rdkit import Chem
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from torch import Tensor

from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Sequences
from bbo_bench.io import Format, Notation, lines_format
from bbo_bench.own import Tokens
from bbo_bench.parallel import pmap
from bbo_bench.seeding import generator
from bbo_bench.smiles import PADDING, molecule, sdf_format, selfies_notation, smiles, smiles_notation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BITS = 2048
FEATURES = 512
PICTURE = 400
"""Pixels on the side of a drawing."""
MORGAN = GetMorganGenerator(radius=2, fpSize=BITS)


def fingerprint(text: str) -> npt.NDArray[np.uint8]:
    """Morgan fingerprint of radius 2, as 2,048 bits; all 0 where the string is no molecule."""
    found = molecule(text)
    return np.zeros(BITS, np.uint8) if found is None else MORGAN.GetFingerprintAsNumPy(found)


class Molecular(DiffusionTask):
    """What tasks share whose designs are strings of SELFIES tokens, which `[nop]` fills up."""

    domain: Sequences

    def features(self, x: Tensor) -> Tensor:
        """`n x 512` random projections of Morgan fingerprints of unit length.

        The squared distance of two molecules is about 2 - 2c, where c is the cosine of their fingerprints, which is
        2s / (1 + s) for fingerprints of one size and of Tanimoto similarity s. What is no molecule lies at the origin.
        """
        bits = self.fingerprints(x)
        directions = torch.randn(BITS, FEATURES, generator=generator(0, "features"), dtype=torch.double)
        features: Tensor = bits / bits.norm(dim=1, keepdim=True).clamp_min(1) @ directions / FEATURES**0.5
        return features

    def canonical(self, x: Tensor) -> Tensor:
        """`n x 1` digests of canonical SMILES: one molecule can be written in many ways."""
        names = pmap(smiles, self.domain.text(x))
        digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
        numbers = [int.from_bytes(digest, "big", signed=True) for digest in digests]
        return torch.tensor(numbers, dtype=torch.long)[:, None]

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

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: the structural formula."""
        from rdkit.Chem.Draw import MolToImage

        found = molecule(self.domain.text(x[None])[0])
        axes.set_axis_off()
        if found is None:
            axes.text(0.5, 0.5, "no molecule", ha="center", va="center", transform=axes.transAxes)
        else:
            axes.imshow(np.asarray(MolToImage(found, (PICTURE, PICTURE))))

    def fingerprints(self, x: Tensor) -> Tensor:
        """`n x 2048` bits of Morgan fingerprints."""
        bits = pmap(fingerprint, self.domain.text(x))
        return torch.tensor(np.array(bits, dtype=np.uint8)).reshape(-1, BITS).double()


class Molecules(Molecular, Tokens):
    """Molecules of one's own; a ring may have as many atoms as the largest of the data."""

    padding = PADDING

    def given(self, x: Tensor) -> list[str]:
        """See `OwnTask.given`: canonical SMILES, empty where there is no molecule."""
        return pmap(smiles, self.domain.text(x))

    def valid(self, x: Tensor) -> Tensor:
        """Whether RDKit can make the molecule, with no ring larger than the data's."""
        return torch.tensor([not fault for fault in self.faults(x)], dtype=torch.bool)

    def faults(self, x: Tensor) -> list[str]:
        """See `Task.faults`."""
        rings = pmap(largest_ring, self.domain.text(x))
        return [
            "no molecule" if size < 0 else f"a ring of {size} atoms" if size > self._largest_ring else ""
            for size in rings
        ]

    @cached_property
    def _largest_ring(self) -> int:
        return max(pmap(largest_ring, self.domain.text(self._x)))


def largest_ring(text: str) -> int:
    """Size of the largest ring of a string of SELFIES tokens; 0 without a ring, −1 where it is no molecule."""
    found = molecule(text)
    return -1 if found is None else largest_ring_of(found)


def largest_ring_of(found: Chem.Mol) -> int:
    """Size of a molecule's largest ring; 0 without a ring."""
    return max(map(len, found.GetRingInfo().AtomRings()), default=0)
