"""Diversity metrics: closed forms and extreme cases."""

import math

import pytest
import torch

from bbo_bench.metrics.diversity import bandwidth, pairwise, unique, vendi


def test_pairwise_of_a_right_triangle() -> None:
    assert pairwise(torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])) == pytest.approx((3 + 4 + 5) / 3)


def test_vendi_of_equal_points_is_one_and_of_distant_points_their_number() -> None:
    assert vendi(torch.ones(6, 3), 1.0) == pytest.approx(1.0)
    assert vendi(1e3 * torch.eye(6), 1.0) == pytest.approx(6.0)


def test_vendi_of_two_groups_is_two() -> None:
    assert vendi(torch.tensor([[0.0], [0.0], [1e3], [1e3]]), 1.0) == pytest.approx(2.0)


def test_vendi_of_two_points_by_hand() -> None:
    # similarity s = exp(-1/2) at a distance of one bandwidth; the eigenvalues of K/2 are (1 ± s) / 2
    p = (1 + math.exp(-0.5)) / 2
    expected = math.exp(-p * math.log(p) - (1 - p) * math.log(1 - p))
    assert vendi(torch.tensor([[0.0], [2.5]]), 2.5) == pytest.approx(expected)


def test_bandwidth_is_the_median_distance() -> None:
    assert bandwidth(torch.tensor([[0.0], [1.0], [10.0]])) == 9.0
    with pytest.raises(ValueError, match="differ in their features"):
        bandwidth(torch.ones(5, 2))


def test_unique_counts_whole_designs() -> None:
    assert unique(torch.tensor([[1, 2], [2, 1], [1, 2], [1, 1]])) == 0.75


def test_few_points_have_no_distances_and_one_is_worth_one() -> None:
    none, one = torch.zeros(0, 3), torch.ones(1, 3)
    assert math.isnan(pairwise(none)) and math.isnan(pairwise(one))
    assert math.isnan(vendi(none, 1.0)) and vendi(one, 1.0) == pytest.approx(1.0)
    assert math.isnan(unique(none)) and unique(one) == 1.0
    with pytest.raises(ValueError, match="at least two reference points, got 1"):
        bandwidth(one)


@pytest.mark.parametrize("metric", [pairwise, bandwidth, lambda x: vendi(x, 1.0)])
def test_points_that_are_no_numbers_are_refused(metric) -> None:
    with pytest.raises(ValueError, match="points must be finite, got 1 numbers"):
        metric(torch.tensor([[0.0], [math.nan], [1.0]]))
