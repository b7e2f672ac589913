"""The archive ships the best distinct designs and is nothing but its data."""

import pytest
import torch

from bbo_bench.archive import ArchiveOptimizer, places
from bbo_bench.core import Problem, UnsuitableError
from bbo_bench.domains import Box, Sequences


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
    assert torch.equal(archive.top(5)[3:], archive.recommend(2)), "too few designs: the list is repeated"


def test_recommends_what_it_would_ask_for_next_while_it_knows_few(archive):
    archive.tell(line(0.1, 0.2), torch.tensor([1.0, 2.0]))
    archive.rng.manual_seed(1)
    shipped = archive.recommend(5)
    archive.rng.manual_seed(1)
    assert torch.equal(shipped, torch.cat([line(0.2, 0.1), archive.ask(3)]))


def line(*places):
    """Designs of the fixture's box on its diagonal, at these places from 0 to 1."""
    box = Box(torch.tensor([[-1.0, 0.0], [2.0, -3.0]]), torch.tensor([[1.0, 5.0], [4.0, 3.1]]))
    return box.unnormalize(torch.tensor(places)[:, None, None].expand(-1, 2, 2))


def test_ships_what_it_found_elsewhere_beside_copies_of_the_best(archive):
    """The best eight are near copies; two of eight lead, and may not be worse than round 0's mean."""
    archive.tell(line(0.0, 0.2, 0.4, 0.6), torch.tensor([0.0, 1.0, 2.0, 1.0]))
    copies = torch.linspace(0.9, 0.91, 12)
    archive.tell(line(*copies.tolist(), 0.4001), torch.cat([10 - 100 * (copies - 0.9), torch.tensor([1.5])]))
    shipped = archive.recommend(8)
    assert torch.equal(shipped, torch.cat([line(*copies[:7].tolist()), line(0.4)]))
    assert torch.equal(archive.recommend(4), line(*copies[:4].tolist())), "one that leads is the best"
    assert torch.equal(archive.top(8), line(*copies[:8].tolist())), "which parents are made of"


def test_what_leads_is_better_than_round_0_and_apart(archive):
    begun = line(0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    archive.tell(begun, torch.tensor([5.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    archive.tell(line(*torch.linspace(0.9, 0.91, 20).tolist()), torch.linspace(10, 9, 20))
    shipped = archive.recommend(16)
    assert torch.equal(shipped[-1:], line(0.0)), "the others are not better than 1"
    assert torch.equal(shipped[:15], line(*torch.linspace(0.9, 0.91, 20)[:15].tolist()))


@pytest.mark.parametrize("first", [(0.3,), (0.3, 0.3, 0.3)])
def test_without_a_scale_it_ships_the_best(archive, first):
    archive.tell(line(*first), torch.zeros(len(first)))
    archive.tell(line(*torch.linspace(0.5, 0.9, 20).tolist()), torch.linspace(2, 1, 20))
    assert torch.equal(archive.recommend(8), line(*torch.linspace(0.5, 0.9, 20)[:8].tolist()))


def test_sequences_are_apart_by_the_places_at_which_they_differ():
    class Words(Archive):
        domains = (Sequences,)

    archive = Words(Problem(Sequences(6, "abcd"), None, (4, 4)), torch.Generator())
    begun = torch.tensor([[0, 0, 0] + [letter] * 3 for letter in range(4)])
    archive.tell(begun, torch.tensor([0.0, 1.0, 0.0, 1.0]))
    best = torch.tensor([3] * 6)
    copies = torch.stack([best, *(best.index_fill(0, torch.tensor([i]), 0) for i in range(6))])
    far = torch.tensor([[1, 1, 1, 3, 3, 3]])
    archive.tell(torch.cat([copies, far, far.index_fill(1, torch.tensor([0]), 0)]), torch.linspace(9, 8, 9))
    shipped = archive.recommend(8)
    assert torch.equal(shipped, torch.cat([copies, far])), "the second that leads is the best with three other letters"
    assert torch.equal(archive.recommend(5), copies[:5]), "of five, one leads"


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


def test_where_rows_stand_among_known_ones():
    known = torch.tensor([[1, 2], [3, 4], [1, 2], [5, 6]])
    x = torch.tensor([[5, 6], [1, 2], [7, 8], [3, 4]])
    assert places(x, known).tolist() == [3, 0, -1, 1]
    assert places(known, known).tolist() == [0, 1, 2, 3], "twins keep their places where all are there in order"
    assert places(x, known[:0]).tolist() == [-1] * 4 and places(x[:0], known).tolist() == []
