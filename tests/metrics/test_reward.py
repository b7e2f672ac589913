"""Reward metrics against values computed by hand."""

import torch

from bbo_bench.metrics.reward import auc, best, first_occurrences, normalized, proxy_gap, top


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
