"""The genetic algorithm recombines its best designs."""

import pytest
import torch

from tests.optimizers.test_sequences import problem_of


def test_children_lie_in_the_blended_box_of_their_parents(problem, play, build):
    optimizer = build("genetic", problem, parents=10 / 32, mutation_rate=0.0, blend=0.25)
    play(optimizer, rounds=1)
    parents, children = optimizer.top(10), optimizer.ask(500)
    low, high = parents.amin(0), parents.amax(0)
    slack = 0.25 * (high - low) + 1e-5
    assert ((children >= low - slack) & (children <= high + slack)).all()
    assert ((children < low) | (children > high)).any(), "blending reaches beyond the parents"


def test_blend_one_half_keeps_the_spread(problem, play, build):
    optimizer = build("genetic", problem, parents=10 / 32, mutation_rate=0.0, blend=0.5)
    play(optimizer, rounds=1)
    ratio = optimizer.ask(20_000).var(0) / optimizer.top(10).var(0, correction=0)
    # E[s² + (1 - s)²] = 7/6, E[2 s (1 - s)] = -1/6 for s uniform in [-.5, 1.5]; two different ones of ten parents have
    # the covariance -1/9 of their variance
    assert torch.allclose(ratio, torch.full((10,), 7 / 6 + 1 / 54), atol=0.06)


def test_mutation_has_the_rate_and_scale_it_says(problem, play, build):
    optimizer = build("genetic", problem, mutation_rate=0.2, mutation_scale=0.5)
    u = torch.zeros(50_000, 10, dtype=torch.float64)
    mutated = optimizer._mutate(u, torch.ones(10).double())
    assert abs(float((mutated != 0).double().mean()) - 0.2) < 0.01
    assert abs(float(mutated[mutated != 0].std()) - 0.5) < 0.01


def test_a_substituted_token_is_each_other_one_equally_often(build):
    optimizer = build("genetic", problem_of(10, 5, (30,)))
    u = torch.full((20_000, 10), 3.0, dtype=torch.double)
    substituted = optimizer.mutated(u, optimizer.mutations)
    rate = 1 - (1 - (optimizer.mutations - 1) / 9) * (1 - 1 / 10)
    shares = torch.bincount(substituted.long().flatten(), minlength=5) / u.numel()
    expected = torch.tensor([rate / 4] * 3 + [1 - rate, rate / 4])
    assert torch.allclose(shares, expected, atol=0.004), shares


@pytest.mark.parametrize(("share", "rounds", "kept"), [(0.1, 1, 8), (0.2, 2, 13), (0.5, 1, 16)])
def test_parents_are_a_share_of_the_round_before(problem, play, build, monkeypatch, share, rounds, kept):
    optimizer = build("genetic", problem, parents=share)
    play(optimizer, rounds=rounds)
    asked, top = [], optimizer.top
    monkeypatch.setattr(optimizer, "top", lambda n: top(asked.append(n) or n))
    optimizer.ask(5)
    assert asked == [kept]


def test_beats_random_search(problem, play, build, random_best):
    assert play(build("genetic", problem)).best > 0.7 * random_best


def test_finds_a_corner_of_the_box(cramped, play, build):
    run = play(build("genetic", cramped))
    assert (run.x == cramped.domain.upper).any(), "designs beyond the border are moved onto it"
    assert run.best > -1.2


def test_nothing_is_asked_for_that_was_told(problem, play, build):
    optimizer = build("genetic", problem, mutation_rate=0.0)
    play(optimizer, rounds=1)
    asked = optimizer.ask(500)
    assert len(torch.unique(torch.cat([optimizer.x, asked]), dim=0)) == len(optimizer.x) + 500


def test_resumes_from_its_state(problem, play, build):
    optimizer, other = (build("genetic", problem) for _ in range(2))
    play(optimizer, rounds=2)
    other.load_state_dict(optimizer.state_dict())
    for each in (optimizer, other):
        each.rng.manual_seed(5)
    assert torch.equal(optimizer.ask(40), other.ask(40))
