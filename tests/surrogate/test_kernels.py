"""Kernels between sequences are what they are said to be."""

import numpy as np
import pytest
import torch
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior

from bbo_bench.library import load_task
from bbo_bench.surrogate.gp import fit_gp, tanimoto
from bbo_bench.surrogate.kernels import HammingKernel, TanimotoKernel, in_selfies


def test_the_kernel_of_sequences_falls_with_every_place_that_differs():
    like = get_covar_module_with_dim_scaled_prior(ard_num_dims=3, batch_shape=torch.Size())
    like.lengthscale = torch.tensor([1.0, 2.0, 4.0])
    kernel = HammingKernel(4, like)
    a, b = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[0.0, 3.0, 3.0]])
    expected = torch.tensor(-0.5 * (1 / 4 + 1 / 16)).exp()
    torch.testing.assert_close(kernel(a, b).to_dense(), expected[None, None])
    torch.testing.assert_close(kernel(a, a).to_dense(), torch.ones(1, 1))


@pytest.fixture(scope="module")
def molecules():
    pytest.importorskip("rdkit")
    task = load_task("molecule_qed")
    return task, task.reference()[:12]


def test_the_kernel_of_molecules_is_the_similarity_of_their_fingerprints(molecules):
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
    from rdkit.DataStructs import BulkTanimotoSimilarity

    from bbo_bench.smiles import molecule

    task, x = molecules
    make = GetMorganGenerator(radius=2, fpSize=2048)
    prints = [make.GetFingerprint(molecule(text)) for text in task.domain.text(x)]
    expected = np.array([BulkTanimotoSimilarity(one, prints) for one in prints])
    kernel = TanimotoKernel(task.domain.alphabet)
    np.testing.assert_allclose(kernel(x.double(), x[:5].double()).to_dense(), expected[:, :5], rtol=1e-6)
    np.testing.assert_allclose(kernel(x.double(), x.double(), diag=True), 1)
    assert torch.linalg.eigvalsh(kernel(x.double()).to_dense()).min() > 0


def test_what_is_no_molecule_is_alike(molecules):
    task, x = molecules
    none = torch.full_like(x[:2], task.domain.alphabet.index("[nop]")).double()
    kernel = TanimotoKernel(task.domain.alphabet)
    assert torch.equal(kernel(none, none).to_dense(), torch.ones(2, 2).double())
    assert torch.equal(kernel(none, x.double()).to_dense(), torch.zeros(2, 12).double())


def test_a_process_learns_from_fingerprints(molecules):
    """Another spelling of a molecule, padding in front of it, is the same molecule to it."""
    task, _ = molecules
    x = task.reference()[:200]
    y = task.evaluate(x)
    model = fit_gp(x.double(), (y - y.mean()) / y.std(), 50, tanimoto(task.domain))
    short = x[x[:, -1] == task.domain.alphabet.index("[nop]")]
    with torch.no_grad():
        same = [model.posterior(v.double()).mean for v in (short, short.roll(1, dims=1))]
    torch.testing.assert_close(*same)
    assert same[0].std() > 0.2


def test_selfies_are_known_by_their_brackets():
    assert in_selfies(["[C]", "[=O]", "[nop]"])
    assert not in_selfies("ACGT") and not in_selfies(["[C]", "N"])
