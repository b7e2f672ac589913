"""Double-stranded DNA of 8 base pairs: either strand, read in its own direction, names the same molecule."""

from __future__ import annotations

import torch
from torch import Tensor

from bbo_bench.domains import Sequences

LENGTH = 8
OCTAMERS = Sequences(LENGTH, "ACGT")
"""A base and its complement have the numbers i and 3 - i."""
COUNT = OCTAMERS.size**LENGTH
POWERS = OCTAMERS.size ** torch.arange(LENGTH - 1, -1, -1)


def octamers() -> Tensor:
    """All `65536 x 8` sequences in alphabetical order."""
    return torch.arange(COUNT)[:, None] // POWERS % OCTAMERS.size


def rank(x: Tensor) -> Tensor:
    """Places of `n x 8` sequences in the alphabetical order of all, an `n`-dim tensor."""
    return (x * POWERS).sum(1)


def reverse_complement(x: Tensor) -> Tensor:
    """The other strands of `n x L` sequences."""
    return OCTAMERS.size - 1 - x.flip(1)


def molecules() -> tuple[Tensor, Tensor]:
    """Ranks of the 32,896 sequences that come no later than their reverse complements, and where each of all is there.

    32,640 molecules have two different strands, 256 are their own reverse complement.
    """
    x = octamers()
    ranks, place = torch.unique(torch.minimum(rank(x), rank(reverse_complement(x))), return_inverse=True)
    return ranks, place


def counts(x: Tensor, k: int) -> Tensor:
    """`n x 4^k` numbers of times that each word of `k` letters occurs in `n x L` sequences."""
    words = (x.unfold(1, k, 1) * POWERS[-k:]).sum(2)
    table = torch.zeros(len(x), OCTAMERS.size**k, dtype=torch.double)
    return table.scatter_add_(1, words, table.new_ones(words.shape))
