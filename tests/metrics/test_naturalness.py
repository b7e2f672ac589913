"""Naturalness metrics: closed forms and extreme cases."""

import math

import pytest
import torch

from bbo_bench.metrics.naturalness import coverage, density, elbo_z, frechet, precision, recall


def normal(n: int, f: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, f, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [500, 5])  # more samples than features, and fewer
def test_frechet_of_a_shift_is_its_squared_norm(n: int) -> None:
    x, shift = normal(n, 12), torch.arange(12.0, dtype=torch.float64)
    assert frechet(x + shift, x) == pytest.approx(float(shift.square().sum()), rel=1e-9)
    assert frechet(x, x) == pytest.approx(0.0, abs=1e-9)


def test_frechet_of_one_dimension_by_hand() -> None:
    # means 0 and 3, standard deviations sqrt(2) and 2 sqrt(2): 3² + (2 sqrt(2) - sqrt(2))² = 11
    a, b = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])
    assert frechet(a, b) == pytest.approx(11.0)


def test_frechet_agrees_with_matrix_square_roots() -> None:
    a, b = normal(300, 4) @ normal(4, 4, seed=1), normal(200, 4, seed=2) + 1
    A, B = a.T.cov(), b.T.cov()
    cross = float(torch.linalg.eigvals(A @ B).real.sqrt().sum())
    expected = float((a.mean(0) - b.mean(0)).square().sum() + A.trace() + B.trace()) - 2 * cross
    assert frechet(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet(b, a) == pytest.approx(expected, rel=1e-9)


def test_precision_and_recall_by_hand() -> None:
    reference = torch.tensor([[0.0], [1.0], [2.0], [3.0], [100.0]])  # radii with k=3: 3, 2, 2, 3, 99
    x = torch.tensor([[-3.0], [-3.5], [1.5], [0.5], [200.0]])  # beyond the reach of 0 is -3.5, of 100 is 200
    assert precision(x, reference) == pytest.approx(3 / 5)
    # radii of x: 5, 5.5... : -3 reaches 4.5 (1.5), -3.5 reaches 5 (1.5), 1.5 reaches 5, 0.5 reaches 4, 200 reaches 203
    assert recall(x, reference) == 1.0


def test_precision_and_recall_of_equal_and_of_distant_sets() -> None:
    x = normal(50, 3)
    assert precision(x, x) == recall(x, x) == 1.0
    assert precision(x + 100, x) == recall(x + 100, x) == 0.0


def test_collapse_keeps_precision_and_loses_recall() -> None:
    x = normal(50, 3)
    one = x[:1].expand(50, 3)
    assert precision(one, x) == 1.0
    assert recall(one, x) == pytest.approx(1 / 50)


def test_precision_needs_enough_neighbours() -> None:
    with pytest.raises(ValueError, match="more than 3 points, got 3"):
        precision(normal(9, 2), normal(3, 2))


def test_few_points_have_no_gaussian_and_no_share() -> None:
    assert math.isnan(frechet(normal(1, 2), normal(9, 2))) and math.isnan(frechet(normal(9, 2), normal(0, 2)))
    assert math.isnan(precision(normal(0, 2), normal(9, 2)))
    assert recall(normal(9, 2), normal(9, 2)[:4]) in [i / 9 for i in range(10)]
    with pytest.raises(ValueError, match="more than 3 points, got 1"):
        recall(normal(1, 2), normal(9, 2))


@pytest.mark.parametrize("metric", [frechet, precision, recall])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_points_that_are_no_numbers_are_refused(metric, value: float) -> None:
    sound, broken = normal(9, 2), normal(9, 2)
    broken[4, 1] = value
    for pair in ((broken, sound), (sound, broken)):
        with pytest.raises(ValueError, match="points must be finite, got 1 numbers that are NaN or infinite"):
            metric(*pair)
    with pytest.raises(ValueError, match=r"points must be n x f, got a tensor of \(9,\)"):
        metric(sound[:, 0], sound)


def test_elbo_z_of_a_reference_without_spread_is_no_number() -> None:
    y = torch.tensor([1.0, 3.0])
    assert all(math.isnan(elbo_z(y, reference)) for reference in (y[:0], y[:1], torch.ones(3)))
    assert math.isnan(elbo_z(y[:0], y)) and elbo_z(y[1:], y) == pytest.approx(1 / math.sqrt(2))


def test_elbo_z_counts_the_reference_standard_deviations() -> None:
    reference = torch.tensor([1.0, 3.0])  # mean 2, standard deviation sqrt(2)
    assert elbo_z(torch.tensor([2.0, 4.0, 6.0]), reference) == pytest.approx(math.sqrt(2))
    assert elbo_z(reference, reference) == 0.0


@pytest.mark.parametrize("k", [1, 5])
def test_density_and_coverage_are_those_of_their_authors(k: int) -> None:
    prdc = pytest.importorskip("prdc", reason="pip install prdc: the authors' package")
    rng = torch.Generator().manual_seed(k)
    real, x = (torch.randn(n, 4, generator=rng, dtype=torch.double) for n in (70, 50))
    for designs in (x, 0.3 * x, x + 1, real[:50], real[:1].expand(50, -1)):
        expected = prdc.compute_prdc(real.numpy(), designs.numpy(), nearest_k=k)
        assert density(designs, real, k) == pytest.approx(expected["density"], abs=1e-9)
        assert coverage(designs, real, k) == pytest.approx(expected["coverage"], abs=1e-9)
        if k > 1:  # precision there has no surface; in general position that changes nothing
            assert precision(x, real, k) == pytest.approx(prdc.compute_prdc(real, x, k)["precision"], abs=1e-9)


def test_copies_of_a_typical_design_are_dense_and_cover_little() -> None:
    real = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    copies = real[real.norm(dim=1).argmin()].expand(200, -1)
    assert precision(copies, real) == 1 and density(copies, real) > 1
    assert coverage(copies, real) < 0.1
