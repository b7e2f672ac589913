"""The archive ships the best distinct designs and is nothing but its data."""

import pytest
import torch

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem, UnsuitableError
from bbo_bench.domains import Box


class Archive(ArchiveOptimizer):
    """Asks for nothing in particular."""

    def ask(self, n):
        return self.domain.sample(n, self.rng)


@pytest.fixture
def archive():
    box = Box(torch.tensor([[-1.0, 0.0], [2.0, -3.0]]), torch.tensor([[1.0, 5.0], [4.0, 3.1]]))
    return Archive(Problem(box, None, (4, 4)), torch.Generator())


def test_recommends_the_best_distinct_designs(archive):
    a, b, c = archive.domain.sample(3, torch.Generator().manual_seed(0))
    archive.tell(torch.stack([a, b]), torch.tensor([1.0, 2.0]))
    archive.tell(torch.stack([c, a]), torch.tensor([1.8, 3.0]))
    assert torch.equal(archive.recommend(2), torch.stack([b, a])), "a counts as the mean of 1 and 3, b as 2"
    assert torch.equal(archive.recommend(3), torch.stack([b, a, c])) or torch.equal(
        archive.recommend(3), torch.stack([a, b, c])
    )
    assert torch.equal(archive.recommend(5)[3:], archive.recommend(2)), "too few designs: the list is repeated"


def test_unit_cube_and_back(archive):
    x = archive.domain.sample(50, torch.Generator().manual_seed(0))
    u = archive.to_vectors(x)
    assert u.shape == (50, 4) and u.dtype == torch.float64
    assert torch.allclose(archive.to_designs(u), x, atol=1e-6)


def test_points_outside_become_designs_of_the_domain(archive):
    u = 20 * torch.randn(1000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = archive.domain.check(archive.to_designs(u))
    assert x.dtype == archive.domain.lower.dtype
    assert torch.equal(x[u.unflatten(1, (2, 2)) > 1], archive.domain.upper.expand_as(x)[u.unflatten(1, (2, 2)) > 1])


def test_needs_a_box():
    with pytest.raises(UnsuitableError, match="Archive searches a Box, got the domain str"):
        Archive(Problem("ACGT", None, (4,)), torch.Generator())
