"""Measure what `bbo-bench card` does not of how sequences fold: `python -m bbo_bench.tasks.rna.card`."""

from __future__ import annotations

import torch
from hydra.utils import instantiate
from torch import Tensor

from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.rna import TRNA
from bbo_bench.tasks.rna.cloverleaf import CONSENSUS_PAIRS, bases

UNIFORM = 200
PARTNERS = frozenset(("GC", "CG", "AU", "UA", "GU", "UG"))


def able(task: TRNA, x: Tensor) -> Tensor:
    """Whether the bases of `n x 76` designs can form all 21 pairs of the cloverleaf."""
    return torch.tensor(
        [all(text[i] + text[j] in PARTNERS for i, j in CONSENSUS_PAIRS) for text in task.domain.text(x)]
    )


def folding(task: TRNA, x: Tensor) -> str:
    """How many of `n x 76` designs could be cloverleaves, and are; their composition and agreement."""
    could, are = able(task, x), task.valid(x)
    texts = task.domain.text(x)
    lengths = [len(bases(text)) for text in texts]
    strong = sum(text.count("G") + text.count("C") for text in texts) / sum(lengths)
    return (
        f"{int(could.sum())} of {len(x)} can pair as the cloverleaf does, {int(are[could].sum())} of these fold into "
        f"it, {int(are.sum())} of all; {min(lengths)} to {max(lengths)} bases, {strong:.0%} of them G or C; agreement "
        f"{float(task.validate(x).mean()):.2f}"
    )


def main() -> None:
    """Print a line for sequences of the prior, of the data and uniform ones."""
    task: TRNA = instantiate(find("task", "rna").settings)
    prior, reference = task.prior(), task.reference()
    kinds = {
        "prior": prior.decode(prior.sample(len(reference), generator(0, "quality"))),
        "held out": reference,
        "training": task.training_data(),
        "uniform": task.domain.sample(UNIFORM, generator(0, "uniform")),
    }
    for name, x in kinds.items():
        print(f"{name}: {folding(task, x)}")


if __name__ == "__main__":
    main()
