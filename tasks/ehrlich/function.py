"""Ehrlich functions, vectorized over designs and positions (Stanton et al. 2024, arXiv:2407.00236).

A function is drawn from a seed: a transition matrix with banned transitions, motifs that a feasible sequence can hold,
and the spacings of their elements. Its numbers are drawn in the order of pytorch-holo 0.0.5, so that a seed gives the
function that it gives there; `compare.py` compares the two.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from torch import Generator, Tensor

BAND = 0.4
"""Half the width of the band of transitions that are allowed, as a share of the states."""
TEMPERATURE = 0.5
"""Of the softmax that makes transition probabilities of standard normal numbers."""
CHUNK = 4096
"""Designs that are searched for motifs at once: their tokens stay in the cache."""


class EhrlichFunction(NamedTuple):
    """One Ehrlich function of sequences of `length` tokens."""

    length: int
    transitions: Tensor
    """`v x v` probabilities of the Markov chain of feasible sequences; 0 where the transition is banned."""
    motifs: Tensor
    """`c x k` tokens."""
    offsets: Tensor
    """`c x k` positions of the motifs' elements, counted from their first."""
    responses: Tensor
    """`k + 1` factors by which a motif multiplies the score, by how many of its elements are in place."""

    @classmethod
    def draw(
        cls,
        states: int,
        length: int,
        motifs: int,
        motif_length: int,
        quantization: int,
        epistasis: float = 0.0,
        seed: int = 0,
    ) -> Self:
        """The function Ehr(v = states, L = length, c = motifs, k = motif_length) with quantization q of a seed.

        Raises:
            ValueError: If no sequence of this length is sure to hold all motifs, or a setting is out of range.
        """
        if motifs < 1 or motif_length < 2 or not 1 <= quantization <= motif_length or motif_length % quantization:
            raise ValueError(
                f"expected at least 1 motif of at least 2 tokens, and a quantization that divides their number, "
                f"got {motifs=}, {motif_length=}, {quantization=}"
            )
        if motifs * motif_length > length:
            raise ValueError(f"{motifs} motifs of {motif_length} tokens do not fit into {length} tokens")
        rng = Generator().manual_seed(seed)
        transitions = _transitions(states, rng)
        tokens = [torch.multinomial(stationary(transitions).float(), 1, generator=rng)]
        for _ in range(motifs * motif_length - 1):
            tokens.append(torch.multinomial(transitions[tokens[-1]], 1, generator=rng)[0])
        slack = (length - motifs * motif_length) // motifs
        weights = [torch.rand(motif_length - 1, generator=rng, dtype=torch.float32) for _ in range(motifs)]
        gaps = torch.stack([1 + (slack * (w / w.sum())).floor().long() for w in weights])
        return cls(
            length,
            transitions,
            motifs=torch.cat(tokens).reshape(motifs, motif_length),
            offsets=torch.nn.functional.pad(gaps.cumsum(1), (1, 0)),
            responses=_responses(motif_length, quantization, epistasis),
        )

    def __call__(self, x: Tensor) -> Tensor:
        """True scores of `n x L` designs, an `n`-dim tensor: from 0 to 1, or −inf where a transition is banned."""
        score = self.responses[self.matches(x)].prod(1).double()
        return torch.where(self.feasible(x), score, -math.inf)

    def feasible(self, x: Tensor) -> Tensor:
        """Which of `n x L` designs have no banned transition, an `n`-dim bool tensor."""
        banned = (self.transitions == 0).flatten()
        return ~banned[x[:, :-1] * len(self.transitions) + x[:, 1:]].any(1)

    def matches(self, x: Tensor) -> Tensor:
        """How many elements of each motif are in place where most are, `n x c` integers, of `n x L` designs."""
        chunks = (x[i : i + CHUNK] for i in range(0, max(1, len(x)), CHUNK))
        return torch.cat([torch.stack([hits.amax(0) for hits in self.hits(chunk)], 1) for chunk in chunks]).long()

    def places(self, x: Tensor) -> Tensor:
        """`c x k` positions in one design of the motifs' elements, where most of them are in place."""
        starts = torch.stack([hits[:, 0].argmax() for hits in self.hits(x[None])])
        return starts[:, None] + self.offsets

    def hits(self, x: Tensor) -> list[Tensor]:
        """How many elements of a motif are in place, `starts x n` for every start that it can have, motif by motif."""
        tokens = x.T.to(torch.uint8).contiguous()  # one byte each and designs last, for speed
        found = []
        for motif, offsets in zip(self.motifs.tolist(), self.offsets.tolist(), strict=True):
            starts = self.length - offsets[-1]
            windows = (tokens[offset : offset + starts] == token for token, offset in zip(motif, offsets, strict=True))
            found.append(sum(windows, torch.zeros(starts, len(x), dtype=torch.uint8)))
        return found

    def solution(self) -> Tensor:
        """A feasible design of score 1, of shape `L`: the motifs one after the other, gaps filled by repetition."""
        spans = (self.offsets.diff(append=self.offsets[:, -1:] + 1)).flatten()
        tokens = self.motifs.flatten().repeat_interleave(spans)
        return torch.cat([tokens, tokens[-1:].expand(self.length - len(tokens))])

    def sample(self, n: int, rng: Generator) -> Tensor:
        """`n x L` feasible designs: the Markov chain, from its stationary distribution."""
        u = torch.rand(n, self.length, 1, generator=rng, dtype=torch.double)
        tokens = [(_levels(stationary(self.transitions)) <= u[:, 0]).sum(1)]
        levels = _levels(self.transitions)
        for t in range(1, self.length):
            tokens.append((levels[tokens[-1]] <= u[:, t]).sum(1))
        return torch.stack(tokens, 1)


def stationary(transitions: Tensor) -> Tensor:
    """The stationary distribution of a chain, `v` probabilities in double precision."""
    limit: Tensor = torch.linalg.matrix_power(transitions.double(), 2**12)
    return limit[0]


def _transitions(states: int, rng: Generator) -> Tensor:
    """`v x v` transition probabilities: random ones, in a band whose rows are shuffled, and on the diagonal."""
    dense = (torch.randn(states, states, generator=rng, dtype=torch.float32) / TEMPERATURE).softmax(1)
    place = torch.arange(states)
    distance = (place[:, None] - place).abs()
    band = torch.minimum(distance, states - distance) <= int(BAND * states)
    allowed = band[torch.randperm(states, generator=rng)] | torch.eye(states, dtype=torch.bool)
    if not (torch.linalg.matrix_power(allowed.double(), states) > 0).all():
        raise ValueError(f"a band of {states} states must lead from every token to every other: take more states")
    kept = torch.where(allowed, dense, 0.0)
    return kept / kept.sum(1, keepdim=True)


def _responses(motif_length: int, quantization: int, epistasis: float) -> Tensor:
    """The factor for 0, ..., k elements in place: their quantized share h, as h (1 + ε h (h - 1))."""
    step = motif_length // quantization
    share = torch.arange(motif_length + 1.0) // step / (motif_length / step)
    return share * (1 + epistasis * share * (share - 1))


def _levels(probabilities: Tensor) -> Tensor:
    """Cumulative probabilities in double precision, the last exactly 1."""
    levels = probabilities.double().cumsum(-1)
    return levels / levels[..., -1:]
