"""Find `best_known`: `python -m bbo_bench.tasks.peptide_mhc.best_known`.

There are 20^9 peptides, too many to try. Searches by pairs start from the best natural peptides, from other natural
ones and from uniform ones: each takes the best of the valid peptides that differ in at most two residues, until
none is better. So what they find is the best within two substitutions of itself, and their number is telling.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import torch
from hydra.utils import instantiate
from torch import Tensor

from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.peptide_mhc import PeptideMHC

STARTS = 40
"""Of each kind."""


def neighbours(x: Tensor, letters: int) -> Tensor:
    """`m x L` sequences that differ from one of `L` tokens in at most two places."""
    pairs = torch.tensor(list(product(range(letters), repeat=2)))
    found = []
    for places in combinations(range(len(x)), 2):
        changed = x.repeat(len(pairs), 1)
        changed[:, places] = pairs
        found.append(changed)
    return torch.as_tensor(torch.unique(torch.cat(found), dim=0))


def climb(task: PeptideMHC, x: Tensor) -> tuple[str, float]:
    """The valid peptide in which the search from `x` ends, and its score."""
    score = -torch.inf
    while True:
        others = neighbours(x, task.domain.size)
        y = task.evaluate(others).where(task.valid(others), -torch.inf)
        if y.max() <= score:
            return task.domain.text(x[None])[0], score
        x, score = others[y.argmax()], float(y.max())


def starts(task: PeptideMHC) -> Tensor:
    """The best of the natural peptides, some others of these, and uniform ones, `n x 9`."""
    data, rng = task.training_data(), generator(0, "best_known")
    best = data[task.evaluate(data).topk(STARTS).indices]
    drawn = data[torch.randint(len(data), (STARTS,), generator=rng)]
    return torch.cat([best, drawn, task.domain.sample(STARTS, rng)])


def main() -> None:
    """Print where the searches end."""
    task = instantiate(find("task", "peptide_mhc").settings)
    ends = Counter(climb(task, x) for x in starts(task))
    for (peptide, score), count in sorted(ends.items(), key=lambda end: -end[0][1])[:10]:
        print(f"{peptide} {score:.6f} {count} of {3 * STARTS} searches")


if __name__ == "__main__":
    main()
