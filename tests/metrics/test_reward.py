"""Reward metrics against values computed by hand."""

import math

import pytest
import torch

from bbo_bench.metrics.reward import auc, best, deviation, first_occurrences, normalized, proxy_gap, top


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_top_is_the_running_mean_of_the_best_distinct_designs() -> None:
    x = column(0, 1, 1, 2, 3)
    y = torch.tensor([1.0, 5.0, 5.0, 3.0, 4.0], dtype=torch.float64)
    assert top(x, y, k=2).tolist() == [1.0, 3.0, 3.0, 4.0, 4.5]


def test_top10_agrees_with_sorting_every_prefix() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(40, (100, 1), generator=rng)
    y = (torch.sin(x.double()) * 7)[:, 0]  # one score per design
    expected = [sum(sorted(set(y[:n].tolist()))[-10:]) / min(10, len(set(y[:n].tolist()))) for n in range(1, 101)]
    torch.testing.assert_close(top(x, y), torch.tensor(expected, dtype=torch.float64))


def test_first_occurrences_of_whole_designs() -> None:
    x = torch.tensor([[[1, 2]], [[2, 1]], [[1, 2]], [[2, 2]], [[2, 1]]])
    assert first_occurrences(x).tolist() == [True, True, False, True, False]


def test_auc_by_hand() -> None:
    # from the first query's value 1: 1 + (1 + 3) / 2 + (3 + 3) / 2 over three queries
    assert auc(torch.tensor([1.0, 3.0, 3.0])) == 2.0


def test_auc_of_a_constant_is_the_constant_and_shifts_with_the_scores() -> None:
    assert auc(torch.full((7,), -2.5)) == -2.5
    curve = torch.tensor([0.25, 0.5, 4.0, 8.0])
    assert auc(curve + 16) == auc(curve) + 16


def test_best_normalized_and_gap() -> None:
    y = torch.tensor([1.0, -3.0, 2.0])
    assert best(y) == 2.0
    assert [normalized(y, 1.0, 3.0) for y in (1.0, 2.0, 3.0, 0.0)] == [0.0, 0.5, 1.0, -0.5]
    assert proxy_gap(torch.tensor([3.0, 3.0, 3.0]), y) == 3.0


def test_of_no_scores_there_is_none_and_of_one_no_deviation() -> None:
    x, y = torch.zeros(0, 3), torch.zeros(0)
    assert all(
        math.isnan(value) for value in (best(y), auc(y), proxy_gap(y, y), deviation(y), deviation(y.new_ones(1)))
    )
    assert top(x, y).shape == first_occurrences(x).shape == (0,)
    assert top(column(7), torch.tensor([2.0])).tolist() == [2.0] and auc(torch.tensor([2.0])) == 2.0
    assert deviation(torch.tensor([1.0, 3.0])) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected 2 finite scores, got 1"):
        top(column(0, 1), torch.tensor([1.0, value]))
    with pytest.raises(ValueError, match=r"expected 2 finite scores, got 3 in \(3,\)"):
        top(column(0, 1), torch.ones(3))


def test_a_scale_needs_a_best_above_the_prior() -> None:
    for best_known in (1.0, 0.5, math.nan):
        with pytest.raises(ValueError, match="best_known must be above y_prior, got"):
            normalized(0.7, 1.0, best_known)
    assert math.isnan(normalized(math.nan, 0.0, 1.0))
