"""Measure what `bbo-bench card` does not of features, strings and codec: `python -m bbo_bench.tasks.molecule.card`."""

from __future__ import annotations

import torch
from hydra.utils import instantiate
from scipy.stats import spearmanr
from torch import Tensor

from bbo_bench.metrics.naturalness import distances
from bbo_bench.molecules import fingerprint
from bbo_bench.parallel import pmap
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.smiles import molecule, smiles
from bbo_bench.tasks.molecule import Molecule

UNIFORM = 10_000


def upper(matrix: Tensor) -> Tensor:
    """The entries of a square matrix above its diagonal, one for every pair."""
    i, j = torch.triu_indices(len(matrix), len(matrix), offset=1)
    return matrix[i, j]


def features(task: Molecule) -> str:
    """How distances of held-out molecules in feature space go with their Tanimoto similarities."""
    x = task.reference()
    bits = torch.tensor([fingerprint(text).tolist() for text in task.domain.text(x)], dtype=torch.double)
    common, size = bits @ bits.T, bits.sum(1)
    alike = upper(common / (size[:, None] + size - common))
    place = task.features(x)
    far = upper(distances(place, place))
    return f"rank correlation of closeness and Tanimoto similarity {spearmanr(-far, alike).statistic:.2f}"


def strings(task: Molecule) -> str:
    """What uniform strings are."""
    x = task.domain.sample(UNIFORM, generator(0, "uniform"))
    found = [molecule(text) for text in task.domain.text(x)]
    atoms = torch.tensor([0 if each is None else each.GetNumAtoms() for each in found])
    return (
        f"of uniform strings {task.valid(x).double().mean():.0%} are valid; "
        f"they have {int(atoms.median())} atoms (median)"
    )


def codec(task: Molecule) -> str:
    """What decoding and encoding leave of a molecule, and of a latent."""
    prior, x = task.prior(), task.reference()
    back = prior.decode(prior.encode(x))
    names, again = (pmap(smiles, task.domain.text(each)) for each in (x, back))
    same = sum(map(str.__eq__, names, again)) / len(x)
    nearest = distances(task.features(back), task.features(x)).argmin(1) == torch.arange(len(x))
    z = prior.sample(len(x), generator(0, "quality"))
    both = torch.stack([z, prior.encode(prior.decode(z))]).flatten(1)
    return (
        f"of held-out molecules {same:.0%} come back as themselves, {nearest.double().mean():.0%} as something nearer "
        f"to them than to any other; latents of samples and of what they decode to correlate by "
        f"{float(both.corrcoef()[0, 1]):.2f}"
    )


def main() -> None:
    """Print a line for each."""
    task: Molecule = instantiate(find("task", "molecule").settings)
    for measure in (features, strings, codec):
        print(measure(task))


if __name__ == "__main__":
    main()
