"""Distinct designs: values by hand, and what the median spacing is by drawing."""

import pytest
import torch

from bbo_bench.metrics.distinct import area, distinct, distinct_top, hits, quality, slots, spacing
from bbo_bench.metrics.naturalness import distances


def line(*places: float) -> torch.Tensor:
    return torch.tensor(places, dtype=torch.double)[:, None]


def found(x: torch.Tensor, y: list[float], apart: float) -> list[float]:
    return distinct(x, x, torch.tensor(y, dtype=torch.double), apart).tolist()


def test_the_best_are_kept_and_what_is_near_them_is_not() -> None:
    # .9 at 0 takes out .8 at .5, which would have taken out .7 at 1.2
    assert found(line(0.5, 0, 1.2, 3), [0.8, 0.9, 0.7, 0.1], apart=1) == [0.9, 0.7, 0.1]


def test_designs_just_the_spacing_apart_are_distinct() -> None:
    assert found(line(0, 0.1, 0.3), [0.3, 0.2, 0.1], apart=0.1) == [0.3, 0.2, 0.1]
    assert found(line(0, 0.1 - 1e-6), [0.3, 0.2], apart=0.1) == [0.3]


def test_one_object_in_two_notations_counts_once_however_far_apart() -> None:
    y = torch.tensor([0.5, 0.9, 0.7])
    assert distinct(line(1, 1, 2), line(0, 10, 20), y, 1).tolist() == pytest.approx([0.9, 0.7])


def test_no_design_at_all() -> None:
    none = torch.empty(0, 2)
    assert distinct(none, none, torch.empty(0), 1).tolist() == []
    assert distinct_top(torch.empty(0), 4) == 0 and set(hits(torch.empty(0)).values()) == {0}


def test_empty_slots_count_nothing() -> None:
    q = torch.tensor([1.0, 0.5, 0.25])
    assert [distinct_top(q, k) for k in (1, 2, 4)] == [1, 0.75, 1.75 / 4]


def test_hits_by_hand() -> None:
    assert list(hits(torch.tensor([1.0, 0.9, 0.55, 0.1])).values()) == [4, 3, 3, 3, 3, 2, 2, 2, 2, 1]


def test_quality_is_clipped() -> None:
    assert quality(torch.tensor([-9.0, 1, 2, 3, 7]), 1, 3).tolist() == [0, 0, 0.5, 1, 1]


def test_an_eighth_is_shipped() -> None:
    assert [slots(m) for m in (256, 64, 8, 4)] == [32, 8, 1, 1]


def test_area_by_hand() -> None:
    assert area([10], [0.3]) == pytest.approx(0.3)
    assert area([10, 30], [0.2, 0.6]) == pytest.approx((10 * 0.2 + 30 * 0.4) / 40)


def test_spacing_of_points_on_a_line() -> None:
    # nearest of all others: 1, 1, 2; of one other: 1, 3, 1, 2, 3, 2
    assert spacing(line(0, 1, 3), 2) == spacing(line(0, 1, 3), 99) == 1
    assert spacing(line(0, 1, 3), 1) == 2


@pytest.mark.parametrize("k", [3, 32])
def test_spacing_is_the_median_over_draws(k: int) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=rng, dtype=torch.double)
    far = distances(x, x)
    nearest = []
    for _ in range(4000):
        first, *others = torch.randperm(60, generator=rng)[: k + 1]
        nearest.append(far[first, torch.stack(others)].min())
    assert float((torch.stack(nearest) < spacing(x, k)).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_a_spacing_needs_points_that_differ() -> None:
    with pytest.raises(ValueError, match="must differ in their features"):
        spacing(torch.ones(5, 2), 2)
    with pytest.raises(ValueError, match="at least 2 reference points, got 1"):
        spacing(torch.ones(1, 2), 2)


def test_the_order_of_the_list_counts_for_nothing():
    """Eight mutually distinct designs around one that is near to all of them, all of one score."""
    around = torch.eye(8).double() * 0.8
    x = torch.cat([torch.zeros(1, 8).double(), around])  # 1.13 from each other, .8 from the one in the middle
    for seed in range(20):
        order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
        assert len(distinct(x[order], x[order], torch.ones(9), 1.0)) == 8


def test_of_one_object_the_best_notation_counts_whatever_the_order():
    designs, features, y = torch.tensor([[0], [0], [1]]), torch.tensor([[0.0], [5.0], [5.2]]), torch.tensor([1.0, 2, 3])
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        assert distinct(designs[order], features[order], y[order], 1.0).tolist() == [3]
