"""RNA as biologists write it: letters of RNA or DNA, aligned or not, with the tail CCA or not; dots and brackets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bbo_bench.domains import Sequences
from bbo_bench.io import Format, Notation
from bbo_bench.tasks.rna.alignment import Profile
from bbo_bench.tasks.rna.cloverleaf import GAP, TAIL, bases
from bbo_bench.tasks.rna.folding import fold

ENDING = "CCA"


def sequence_notation(domain: Sequences, profile: Profile) -> Notation:
    """Sequences of 76 letters and gaps as they are; others get their positions by the family's profile."""

    def parse(text: str) -> Tensor:
        letters = text.upper().replace("T", "U").replace(".", GAP).replace("~", GAP)
        if unknown := sorted(set(letters) - set(domain.alphabet)):
            raise ValueError(f"expected the letters A, C, G, U (or T) and gaps, got {unknown[0]!r}")
        if len(letters) == domain.length and GAP in letters:
            return domain.parse([letters])[0]
        return aligned(domain, profile, bases(letters))

    return Notation("sequence", parse, domain.text)


def dot_bracket_format(domain: Sequences) -> Format:
    """The sequence, without gaps, over its fold of least energy."""

    def write(x: Tensor, names: Sequence[str]) -> bytes:
        folded = [(bases(text), fold(bases(text)).structure) for text in domain.text(x)]
        lines = [f">{name}\n{text}\n{pairs}\n" for name, (text, pairs) in zip(names, folded, strict=True)]
        return "".join(lines).encode()

    return Format(None, write)


def aligned(domain: Sequences, profile: Profile, letters: str) -> Tensor:
    """The design of a sequence without gaps, whose tail CCA, if it has one, is left away.

    Raises:
        ValueError: If it has more bases than the family has positions.
    """
    most = domain.length + len(TAIL)
    if not 0 < len(letters) <= most:
        raise ValueError(f"expected 1 to {domain.length} bases, or {most} with the tail {ENDING}, got {len(letters)}")
    tokens = [domain.alphabet.index(letter) for letter in letters]
    gap = domain.alphabet.index(GAP)
    x = torch.tensor([tokens + [gap] * (max(domain.length, len(tokens)) - len(tokens))])
    placed = "".join(domain.alphabet[i] for i in profile.align(x)[0].tolist())
    body, tail = placed[: domain.length], bases(placed[domain.length :])
    if not ENDING.startswith(tail):
        raise ValueError(f"its end {tail} stands where a tRNA has its tail {ENDING}, which designs do not have")
    return domain.parse([body])[0]
