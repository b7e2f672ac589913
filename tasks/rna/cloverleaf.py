"""The cloverleaf that tRNAs share, over their 76 numbered positions.

Positions and their numbers: M. Sprinzl et al., "Compilation of tRNA sequences and sequences of tRNA genes", Nucleic
Acids Research 26:148, 1998. A position that a tRNA lacks holds a gap.
"""

from __future__ import annotations

GAP = "-"
POSITIONS = (*map(str, range(1, 18)), "17a", "18", "19", "20", "20a", "20b", *map(str, range(21, 74)))
"""Without the tail CCA, which is added to a tRNA after its transcription."""
CONSENSUS = "(((((((..((((...........)))).(((((.......))))).....(((((.......))))))))))))."
"""Acceptor stem of 7 base pairs, D arm of 4, anticodon arm of 5, T arm of 5."""

Pairs = frozenset[tuple[int, int]]


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


def spread(design: str, structure: str) -> str:
    """A structure of the bases of a design, over the 76 positions; gaps are unpaired."""
    symbols = iter(structure)
    return "".join("." if base == GAP else next(symbols) for base in design)


def distance(design: str, structure: str) -> int:
    """Base-pair distance between a structure of the bases of a design and the cloverleaf, position by position.

    The number of pairs that only one of the two has. Loops may lose or gain bases at no cost: those are gaps or not.
    """
    return len(pairs(spread(design, structure)) ^ CONSENSUS_PAIRS)


def complete(design: str) -> float:
    """Share of the cloverleaf's pairs of which a design has both bases."""
    return sum(GAP not in (design[i], design[j]) for i, j in CONSENSUS_PAIRS) / len(CONSENSUS_PAIRS)


def target(design: str) -> str:
    """The cloverleaf over the bases of a design; where one of a pair is missing, the other is unpaired."""
    whole = {i for pair in CONSENSUS_PAIRS for i in pair if all(design[k] != GAP for k in pair)}
    return "".join(CONSENSUS[i] if i in whole else "." for i, base in enumerate(design) if base != GAP)
