"""Find `best_known` of the tasks: `python -m bbo_bench.tasks.molecule.best_known molecule_qed ...`.

A genetic algorithm on the tokens, started from the best valid molecules of the data and from known extremes, with as
many as 60,000 queries a task. The designs found are kept in best_known.npz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import selfies
import torch
from hydra.utils import instantiate
from torch import Generator, Tensor

from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.molecule import Molecule

DESIGNS = Path(__file__).with_name("best_known.npz")
SCREENED, POPULATION, CHILDREN, GENERATIONS = 5000, 100, 500, 110
EXTREMES = {
    "molecule_celecoxib": ["Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F"],
    "molecule_plogp": ["C" * 48, "CS" * 24, "c1ccc(cc1)" * 4 + "c1ccccc1"],
}
"""SMILES from which the search starts too: a target, and chains."""


def written(task: Molecule, smiles: str) -> Tensor:
    """The design of a SMILES string, cut off after 48 tokens; `48`."""
    number = {token: i for i, token in enumerate(task.domain.alphabet)}
    row = [number[token] for token in selfies.split_selfies(selfies.encoder(smiles))][: task.domain.length]
    return torch.tensor(row + [0] * (task.domain.length - len(row)))


def children(x: Tensor, size: int, n: int, rng: Generator) -> Tensor:
    """`n` designs from `m x 48` parents: head of one and tail of another, or one changed in one to three places.

    A place gets a random token, loses its token, or makes room for another.
    """
    length = x.shape[1]
    pairs = torch.randint(len(x), (n, 2), generator=rng)
    cut = torch.randint(length, (n, 1), generator=rng)
    crossed = torch.rand(n, 1, generator=rng) < 0.2
    born = torch.where(crossed & (torch.arange(length) >= cut), x[pairs[:, 1]], x[pairs[:, 0]])
    changes = torch.randint(1, 4, (n,), generator=rng) * ~crossed[:, 0]
    rows: list[list[int]] = []
    for row, count in zip(born.tolist(), changes.tolist(), strict=True):
        filled = max(sum(token > 0 for token in row), 1)
        for _ in range(count):
            kind, place, token = (int(torch.randint(high, (), generator=rng)) for high in (3, filled + 1, size))
            row = row[:place] + ([], [token], [token])[kind] + row[place + (kind < 2) :]
        rows.append((row + [0] * length)[:length])
    return torch.tensor(rows)


def best_known(task: Molecule, name: str) -> tuple[Tensor, float]:
    """The best valid design that the search meets, and its score."""
    rng = generator(0, "best_known")
    data = task.training_data()
    data = data[torch.randperm(len(data), generator=rng)[:SCREENED]]
    x = torch.cat([data, *(written(task, smiles)[None] for smiles in EXTREMES.get(name, ()))])
    x = x[task.valid(x)]
    y = task.evaluate(x)
    for generation in range(GENERATIONS + 1):
        y, order = y.sort(descending=True, stable=True)
        x = x[order]
        key = task.canonical(x)[:, 0].tolist()
        first = [i for i, each in enumerate(key) if each not in key[:i]][:POPULATION]
        x, y = x[first], y[first]
        if generation == GENERATIONS:
            break
        born = children(x, task.domain.size, CHILDREN, rng)
        scores = task.evaluate(born)
        better = scores > y[-1]
        born, scores = born[better], scores[better]
        keep = task.valid(born)
        x, y = torch.cat([x, born[keep]]), torch.cat([y, scores[keep]])
        print(f"{name}: generation {generation}, best {float(y.max()):.4f}", end="\r", flush=True)
    return x[0], float(y[0])


def main() -> None:
    """Print the constant of the named tasks, and keep the designs."""
    designs = dict(np.load(DESIGNS)) if DESIGNS.exists() else {}
    for name in sys.argv[1:]:
        task = instantiate(find("task", name).settings)
        x, score = best_known(task, name)
        print(f"{name}: best_known {score:.4f}, {task.domain.text(x[None])[0]}")
        designs[name] = x.numpy().astype(np.uint8)
        np.savez_compressed(DESIGNS, **designs)


if __name__ == "__main__":
    main()
