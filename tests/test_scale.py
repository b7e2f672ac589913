"""Scores are standardized in double precision, whatever their unit and offset."""

import pytest
import torch

from bbo_bench.scale import Scale, deviation

Y = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)  # mean 3, variance 14/3


def test_mean_and_sample_deviation():
    scale = Scale.of(Y)
    assert float(scale.mean) == 3 and float(scale.std) == pytest.approx((14 / 3) ** 0.5)
    assert torch.allclose(scale(Y), (Y - 3) / (14 / 3) ** 0.5)
    assert torch.allclose(scale.inverse(scale(Y)), Y)


@pytest.mark.parametrize(("slope", "offset"), [(0.01, -1e6), (1.0, 1e9), (1e38, 0.0), (1e100, 0.0), (1e-100, 0.0)])
def test_standardized_scores_have_no_unit(slope, offset):
    assert torch.allclose(Scale.of(slope * Y + offset)(slope * Y + offset), Scale.of(Y)(Y), atol=1e-6)


@pytest.mark.parametrize("y", [torch.tensor([0.1]), torch.full((7,), -1e6 - 0.1), torch.full((3,), 1e9 + 0.3)])
def test_scores_that_do_not_differ_are_zero(y):
    scale = Scale.of(y.double())
    assert float(scale.std) == 1
    assert scale(y.double()).abs().max() < 1e-6


def test_deviation_of_a_single_value_is_zero():
    assert float(deviation(torch.tensor([5.0]))) == 0
    assert deviation(torch.ones(1, 3), 0).tolist() == [0, 0, 0]
    assert float(deviation(Y)) == float(Y.std())
    assert torch.equal(deviation(Y.reshape(2, 2), 1), Y.reshape(2, 2).std(1))


def test_groups_have_scales_of_their_own_and_those_of_all_where_they_are_small():
    y = torch.tensor([1.0, 3.0, 10.0, 10.0, 7.0], dtype=torch.double)
    scale = Scale.within(y, torch.tensor([0, 0, 1, 1, 2]), 4)
    assert scale.mean.tolist() == pytest.approx([2.0, 10.0, 6.2, 6.2])
    assert scale.std.tolist() == pytest.approx([2**0.5, 1.0, float(y.std()), float(y.std())])
    own = scale.of_group(torch.tensor([1, 0]))
    assert own(torch.tensor([11.0, 2.0], dtype=torch.double)).tolist() == pytest.approx([1.0, 0.0])
    assert own.inverse(torch.tensor([1.0, 0.0], dtype=torch.double)).tolist() == pytest.approx([11.0, 2.0])
