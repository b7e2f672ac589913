import pytest
import torch

from bbo_bench.alignment.groups import History, deviations, grouped, mates
from bbo_bench.seeding import generator


@pytest.mark.parametrize(("n", "size", "sizes"), [(12, 4, [4, 4, 4]), (10, 3, [4, 3, 3]), (3, 5, [3]), (1, 2, [1])])
def test_groups_are_of_the_size_or_a_little_larger(n, size, sizes):
    assert grouped(n, size, torch.device("cpu")).bincount().tolist() == sizes


def test_deviations_are_from_the_mean_of_the_others():
    values, group = torch.randn(10, 2, generator=generator(0)), grouped(10, 3, torch.device("cpu"))
    above, std = deviations(values, group)
    for i in range(10):
        members = group == group[i]
        others = members & (torch.arange(10) != i)
        torch.testing.assert_close(above[i], values[i] - values[others].mean(0))
        torch.testing.assert_close(std[i], values[members].std(0))


def test_a_group_of_one_deviates_from_nothing():
    above, std = deviations(torch.tensor([[2.0], [4.0], [7.0]]), torch.tensor([0, 0, 1]))
    assert above.flatten().tolist() == [-2, 2, 0]
    assert std.flatten().tolist() == pytest.approx([2**0.5, 2**0.5, 0])


def test_numbers_without_a_group_do_no_harm():
    above, std = deviations(torch.tensor([[2.0], [4.0], [7.0], [9.0]]), torch.tensor([0, 0, 3, 3]))
    assert above.flatten().tolist() == [-2, 2, -2, 2]
    assert std.isfinite().all()


def test_mates_are_of_the_group_and_each_member_as_often():
    group = torch.tensor([2, 0, 0, 2, 2])
    first = torch.arange(5).repeat(3000)
    second = mates(group, first, generator(0))
    assert torch.equal(group[second], group[first])
    count = torch.bincount(second[first == 0], minlength=5) / 3000
    torch.testing.assert_close(count, torch.tensor([1, 0, 0, 1, 1]) / 3, atol=0.04, rtol=0)


def test_a_history_keeps_the_newest_of_every_group_and_knows_when_it_is_too_short():
    known = History(length=3, least=2)
    group = torch.tensor([0, 0, 0, 0, 1])
    values = torch.tensor([9.0, 1.0, 2.0, 3.0, 10.0])
    mean, spread = known.compared(values, group)
    assert mean.tolist() == pytest.approx([2.0] * 4 + [5.0])  # of one value nothing is known: the mean of all
    assert spread.tolist() == pytest.approx([(2 / 3) ** 0.5] * 4 + [float(values.std(unbiased=False))])
    mean, spread = known.compared(torch.tensor([4.0, 14.0]), torch.tensor([0, 1]))
    assert mean.tolist() == pytest.approx([3.0, 12.0])
    assert spread.tolist() == pytest.approx([(2 / 3) ** 0.5, 2.0])
