"""The cloverleaf that tRNAs share, over their 76 numbered positions and the three of their tail.

Positions and their numbers: M. Sprinzl et al., "Compilation of tRNA sequences and sequences of tRNA genes", Nucleic
Acids Research 26:148, 1998. A position that a tRNA lacks holds a gap. Which positions those are, a molecule does not
say: what is measured here is the most that any placing of its bases gives, so that it depends on the molecule alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GAP = "-"
POSITIONS = (*map(str, range(1, 18)), "17a", "18", "19", "20", "20a", "20b", *map(str, range(21, 74)))
"""Without the tail CCA, which is added to a tRNA after its transcription, or is in its gene."""
TAIL = ("74", "75", "76")
CONSENSUS = "(((((((..((((...........)))).(((((.......))))).....(((((.......))))))))))))."
"""Acceptor stem of 7 base pairs, D arm of 4, anticodon arm of 5, T arm of 5."""

Pairs = frozenset[tuple[int, int]]
Weights = npt.NDArray[np.float64]


def pairs(structure: str) -> Pairs:
    """The base pairs `(i, j)`, i < j, of a structure in dots and brackets."""
    opened: list[int] = []
    found = set()
    for i, symbol in enumerate(structure):
        if symbol == "(":
            opened.append(i)
        elif symbol == ")":
            found.add((opened.pop(), i))
    return frozenset(found)


CONSENSUS_PAIRS = pairs(CONSENSUS)


def bases(design: str) -> str:
    """The sequence that a design of 76 characters stands for: its gaps are closed."""
    return design.replace(GAP, "")


def distance(structure: str) -> int:
    """Base-pair distance between a structure of at most 79 bases and the cloverleaf: pairs that only one of them has.

    Loops may lose or gain bases at no cost, as far as there are positions.
    """
    found = pairs(structure)
    weights = np.zeros((len(structure), len(structure)))
    weights[tuple(np.array(sorted(found), dtype=int).reshape(-1, 2).T)] = 1
    return len(found) + len(CONSENSUS_PAIRS) - 2 * round(common(weights))


def agreement(probabilities: Weights) -> float:
    """F-score, from 0 to 1, of the pairs of an ensemble of structures against those of the cloverleaf.

    Twice the expected number of pairs that a structure and the cloverleaf share, over the expected number of pairs of
    both.

    Args:
        probabilities: `n x n` probabilities of the base pairs `(i, j)`, i < j, of at most 79 bases.
    """
    return float(2 * common(probabilities) / (len(CONSENSUS_PAIRS) + probabilities.sum()))


def common(weights: Weights) -> float:
    """The greatest total weight of pairs that the cloverleaf shares, among all placings of `n` bases at its positions.

    Bases keep their order, and the other 79 - n positions hold gaps. Dynamic programming over the tree of the stems: an
    entry `(a, b)` of a table is the best of a stretch of positions that begins with `a` gaps before it and ends with
    `b`, so that the base at position p is number p - b.

    Args:
        weights: `n x n` weights, not negative, of the pairs `(i, j)`, i < j.
    """
    gaps = len(CONSENSUS) + len(TAIL) - len(weights)
    padded = np.pad(weights, gaps)  # what stands outside is never reached
    nothing = np.where(np.eye(gaps + 1, dtype=bool), 0.0, -np.inf)
    table, outer = nothing, []
    for q, symbol in enumerate(CONSENSUS + "." * len(TAIL)):
        if symbol == "(":
            outer.append((q, table))
            table = nothing
        elif symbol == ".":
            table = _followed_by_gap(table)
        else:
            p, before = outer.pop()
            both = table + padded[p : p + gaps + 1, q : q + gaps + 1][::-1, ::-1]
            both[:-1] = np.maximum(both[:-1], table[1:])  # a gap for the left base
            right = table.copy()
            right[:-1] = np.maximum(right[:-1], table[1:])
            both[:, 1:] = np.maximum(both[:, 1:], right[:, :-1])
            table = both if before is nothing else (before[:, :, None] + both).max(1)
    return float(table[0, -1])


def _followed_by_gap(table: Weights) -> Weights:
    """The table of a stretch that is one position longer, which holds a base or a gap."""
    longer = table.copy()
    longer[:, 1:] = np.maximum(longer[:, 1:], table[:, :-1])
    return longer


def target(design: str) -> str:
    """The cloverleaf over the bases of a design as placed; where one of a pair is missing, the other is unpaired."""
    whole = {i for pair in CONSENSUS_PAIRS for i in pair if all(design[k] != GAP for k in pair)}
    return "".join(CONSENSUS[i] if i in whole else "." for i, base in enumerate(design) if base != GAP)
