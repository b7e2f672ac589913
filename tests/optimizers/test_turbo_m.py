"""TuRBO with several regions: what each of them knows, and who is asked."""

import pytest
import torch

from bbo_bench.seeding import generator

QUICK = {"inner": {"fit_steps": 20, "chunk": 64}, "regions": 3}


def test_round_0_is_dealt_out_and_a_region_knows_what_it_has_asked_for(problem, play, build):
    optimizer = build("turbo_m", problem, **QUICK)
    play(optimizer, rounds=1)
    assert optimizer.owners[0].tolist() == [i % 3 for i in range(32)]
    optimizer.rng.manual_seed(0)
    x = optimizer.ask(40)
    owner = optimizer._owner
    optimizer.tell(x, -x.square().mean(1).double())
    for i, region in enumerate(optimizer.regions):
        assert torch.equal(region.x, torch.cat([optimizer.rounds[0][0][i::3], x[owner == i]]))
    assert optimizer.diagnostics()["largest"] == pytest.approx(owner.bincount().max().item() / 40)


def test_designs_are_known_in_another_order_and_if_some_have_no_score(problem, play, build):
    optimizer = build("turbo_m", problem, **QUICK)
    play(optimizer, rounds=1)
    x = optimizer.ask(40)
    owner, told = optimizer._owner, torch.randperm(40, generator=generator(0))[:39]
    other = problem.prior.sample(3, generator(1))
    optimizer.tell(torch.cat([other, x[told]]), torch.zeros(42).double())
    assert optimizer.owners[1].tolist() == [0, 1, 2, *owner[told].tolist()]


def test_every_query_goes_to_the_region_of_the_highest_draw(problem, play, build):
    optimizer = build("turbo_m", problem, **QUICK)
    play(optimizer, rounds=1)
    draws = [torch.tensor([0.0, 5.0, 1.0]), torch.tensor([2.0, 3.0, 0.0]), torch.tensor([1.0, 4.0, 9.0])]
    for i, region in enumerate(optimizer.regions):
        point = region.axes(torch.full((3, 10), i / 4).double())
        region.drawn = lambda n, point=point, drawn=draws[i]: (point, drawn)
    x = optimizer.ask(3)
    assert optimizer._owner.tolist() == [1, 0, 2]
    expected = optimizer.to_designs(torch.tensor([1.0, 0.0, 2.0])[:, None].expand(3, 10).double() / 4)
    torch.testing.assert_close(x, expected)


def test_a_region_that_starts_again_is_given_its_share(problem, play, build):
    optimizer = build("turbo_m", problem, **QUICK)
    play(optimizer, rounds=1)
    optimizer.regions[1]._restart(1)
    optimizer.ask(30)
    assert (optimizer._owner == 1).sum() == 10
    optimizer.tell(problem.prior.sample(30, generator(0)), torch.zeros(30).double())
    assert len(optimizer.regions[1].rounds) == 2


def test_fewer_designs_than_regions(problem, build):
    optimizer = build("turbo_m", problem, **QUICK | {"regions": 5})
    x = problem.prior.sample(2, generator(0))
    optimizer.tell(x, torch.tensor([0.0, 1.0]).double())
    assert [len(region.rounds) for region in optimizer.regions] == [1, 1, 0, 0, 0]
    x = problem.domain.check(optimizer.ask(10))
    assert optimizer.predict(x).shape == (10,)
    owners = optimizer._owner.bincount(minlength=5)
    assert (owners[2:] > 0).all(), "regions without a design are given some"
    optimizer.tell(x, torch.arange(10).double())


def test_the_surest_region_predicts(problem, play, build):
    optimizer = build("turbo_m", problem, **QUICK)
    x = play(optimizer, rounds=2).x
    moments = [region.moments(x) for region in optimizer.regions]
    surest = torch.stack([std for _, std in moments]).argmin(0)
    expected = torch.stack([mean for mean, _ in moments])[surest, torch.arange(len(x))]
    assert torch.equal(optimizer.predict(x), expected) and len(surest.unique()) == 3


def test_beats_random_search(problem, play, build, random_best):
    assert play(build("turbo_m", problem, **QUICK)).best > random_best / 2


def test_resumes_from_its_state(problem, play, build):
    optimizer, other = (build("turbo_m", problem, **QUICK) for _ in range(2))
    play(optimizer, rounds=2)
    other.load_state_dict(optimizer.state_dict())
    for each in (optimizer, other):
        each.rng.manual_seed(5)
    assert torch.equal(optimizer.ask(40), other.ask(40))
