"""A profile hidden Markov model of the family, by which any sequence gets its positions.

Sources: R. Durbin et al., "Biological Sequence Analysis", 1998, chapter 5. The model has no insertions, as designs have
positions for all bases that the family inserts.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import one_hot

GAP = 4
TAILS = torch.tensor([[GAP, GAP, GAP], [1, 1, 0]])
"""None, and CCA."""
NEVER = -(10**9)


class Profile(NamedTuple):
    """Logarithms of probabilities, in thousandths and rounded, so that their sums are exact and ties are real ones."""

    emission: Tensor
    """`79 x 5`, of the bases at a position; a gap is none."""
    transition: Tensor
    """`79 x 2 x 2`, from a base or a gap at the position before to a base or a gap."""

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """The profile of `n x 76` aligned sequences, which are as often without the tail CCA as with it."""
        x = torch.cat([torch.cat((x, tail.expand(len(x), -1)), 1) for tail in TAILS])
        gap = (x == GAP).long()
        before = torch.nn.functional.pad(gap, (1, 0))[:, :-1]
        emission = _log_shares(one_hot(x, 5).sum(0)[:, :GAP])
        return cls(
            torch.nn.functional.pad(emission, (0, 1), value=NEVER),
            _log_shares(one_hot(2 * before + gap, 4).sum(0).reshape(-1, 2, 2)),
        )

    def align(self, x: Tensor) -> Tensor:
        """`n x 79` tokens of `n x 76` designs at their most probable positions; where their gaps are does not matter.

        The Viterbi algorithm, for all designs at once: `score[s, i, b]` is the best of design i up to a position with b
        gaps so far, the last of them being a base (s = 0) or a gap (s = 1).
        """
        n, length = len(x), len(self.emission)
        gaps = length - (x != GAP).sum(1)
        most = int(gaps.max()) if n else 0
        padded = torch.nn.functional.pad(closed(x), (most, length - x.shape[1]), value=GAP)
        score = torch.full((2, n, most + 1), NEVER)
        score[0, :, 0] = 0
        origins = []
        for p, (emission, transition) in enumerate(zip(self.emission, self.transition, strict=True)):
            (base, gap), origin = (score[:, None] + transition[:, :, None, None]).max(0)
            origins.append(origin)
            base = base + emission[padded[:, p : p + most + 1].flip(1)]
            gap = torch.nn.functional.pad(gap, (1, 0), value=NEVER)[:, :-1]
            score = torch.stack((base, gap)).clamp_min(NEVER)
        return _traced(origins, score, gaps, padded)


def closed(x: Tensor) -> Tensor:
    """`n x 76` designs with their gaps at the end."""
    return x.gather(1, (x == GAP).long().argsort(dim=1, stable=True))


def _traced(origins: list[Tensor], score: Tensor, gaps: Tensor, padded: Tensor) -> Tensor:
    """The tokens along the best path, from its end to its beginning."""
    row, most = torch.arange(len(gaps)), score.shape[2] - 1
    state = score[:, row, gaps].argmax(0)
    tokens: list[Tensor] = []
    for p, origin in reversed(list(enumerate(origins))):
        tokens.insert(0, padded[row, p + most - gaps].where(state == 0, GAP))
        gaps = gaps - state
        state = origin[state, row, gaps]
    return torch.stack(tokens, 1)


def _log_shares(counts: Tensor) -> Tensor:
    """Of counts, with one more of each, among the last dimension."""
    counts = counts.double() + 1
    return (1000 * (counts / counts.sum(-1, keepdim=True)).log()).round().long()
