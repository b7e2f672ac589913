"""Find the constants `y_prior` and `best_known` of the task: `python -m bbo_bench.tasks.rna.best_known`.

`best_known` comes from simulated annealing over valid designs, started from the most stable ones of the data. A move
replaces one position, or two that pair in the cloverleaf; designs that are no cloverleaf are never entered. The design
found is kept in best_known.npz.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from hydra.utils import instantiate

from bbo_bench.card import sampled
from bbo_bench.parallel import pmap
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.rna import ALPHABET, TRNA
from bbo_bench.tasks.rna.cloverleaf import CONSENSUS_PAIRS, POSITIONS, bases, distance
from bbo_bench.tasks.rna.folding import fold

DESIGN = Path(__file__).with_name("best_known.npz")
PRIOR_SAMPLES = 10_000
STARTS, QUERIES = 4, 60_000
HOT, COLD = 2.0, 0.05
"""Temperatures of the annealing, in kcal/mol."""
PAIRING = 0.5
"""Share of the moves that replace a pair."""
PARTNERS = ("GC", "CG", "AU", "UA", "GU", "UG")


def y_prior(task: TRNA) -> float:
    """Mean true score of 10,000 samples of the prior."""
    return float(task.evaluate(sampled(task.prior(), PRIOR_SAMPLES, generator(0, "y_prior"))).mean())


def moved(design: str, rng: np.random.Generator) -> str:
    """A neighbour of a design."""
    symbols = list(design)
    if rng.random() < PAIRING:
        i, j = sorted(CONSENSUS_PAIRS)[rng.integers(len(CONSENSUS_PAIRS))]
        symbols[i], symbols[j] = tuple(PARTNERS[rng.integers(len(PARTNERS))])
    else:
        symbols[rng.integers(len(POSITIONS))] = ALPHABET[rng.integers(len(ALPHABET))]
    return "".join(symbols)


def search(start: tuple[str, int, int]) -> tuple[float, str]:
    """The score and the design of the best that annealing from a valid design meets, given its limit and a seed."""
    design, max_distance, seed = start
    rng = np.random.default_rng(seed)
    score = -fold(bases(design)).energy
    best = score, design
    for temperature in np.geomspace(HOT, COLD, QUERIES):
        candidate = moved(design, rng)
        structure, energy = fold(bases(candidate))
        accepted = -energy >= score or rng.random() < math.exp((-energy - score) / temperature)
        if accepted and distance(structure) <= max_distance:
            design, score = candidate, -energy
            best = max(best, (score, design))
    return best


def main() -> None:
    """Print the constants, and keep the design."""
    task: TRNA = instantiate(find("task", "rna").settings)
    data = task.training_data()
    starts = task.domain.text(data[task.evaluate(data).topk(STARTS).indices])
    found = pmap(search, [(start, task.max_distance, seed) for seed, start in enumerate(starts)])
    score, design = max(found)
    np.savez_compressed(DESIGN, x=task.domain.parse([design])[0].numpy())
    scores = ", ".join(f"{each:.1f}" for each, _ in sorted(found, reverse=True))
    print(f"best_known {score:.2f}: {design}, of {scores}; y_prior {y_prior(task):.3f}")


if __name__ == "__main__":
    main()
