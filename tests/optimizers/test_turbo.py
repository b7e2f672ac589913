"""TuRBO's trust region: its rule of resizing, where it lies, and what it finds."""

from dataclasses import replace

import pytest
import torch

QUICK = {"fit_steps": 20, "chunk": 64}
RULE = QUICK | {"length": 0.4, "successes": 3}


def told(optimizer, tops):
    """Tell rounds of 12 designs whose best scores are `tops`; what was learned from them is the trust region."""
    for i, top in enumerate(tops):
        x = optimizer.problem.prior.sample(12, torch.Generator().manual_seed(i))
        optimizer.tell(x, top - torch.arange(12).double())
    return optimizer


@pytest.mark.parametrize(
    ("tops", "length"),
    [([0], 0.4), ([0, 1], 0.4), ([0, 1, 2, 3], 0.8), ([0, 1, 2, 2], 0.2), ([0, 0], 0.2), ([0, 0, 1, 1], 0.1)],
)
def test_trust_region_doubles_and_halves(problem, build, tops, length):
    assert told(build("turbo", problem, **RULE), tops).length == length


@pytest.mark.parametrize(("rounds", "length"), [(4, 0.5), (9, 0.5), (10, 0.8), (31, 0.8)])
def test_few_rounds_start_from_a_smaller_region(problem, build, rounds, length):
    assert build("turbo", replace(problem, budget=(4,) * rounds)).length == length


@pytest.mark.parametrize("n", [1, 4, 256])
def test_ten_improving_rounds_in_a_row_double(problem, build, n):
    """However large they are, as in BoTorch's tutorial: doubled after every round, the region is the box in no time."""
    optimizer, lengths = build("turbo", problem, **QUICK, length=0.4), []
    for _ in range(10):
        optimizer._resize(True, n, 10)
        lengths.append(optimizer.length)
    assert lengths == [0.4] * 9 + [0.8]
    for success in (*[True] * 9, False, *[True] * 9):
        optimizer._resize(success, 1, 10)
    assert optimizer.length == 0.8, "a failure between them counts anew"


@pytest.mark.parametrize(("n", "d", "rounds"), [(4, 10, 3), (10, 10, 1), (256, 10, 1), (1, 2, 4), (4, 20, 5)])
def test_failures_are_counted_in_designs(problem, build, n, d, rounds):
    optimizer = build("turbo", problem, **QUICK, length=0.4)
    for i in range(rounds):
        assert optimizer.length == 0.4, i
        optimizer._resize(False, n, d)
    assert optimizer.length == 0.2


def test_failed_rounds_may_differ_in_size(problem, build):
    optimizer = build("turbo", problem, **QUICK, length=0.4)
    for n in (1, 64):
        optimizer._resize(False, n, 20)
    assert optimizer.length == 0.2


def test_trust_region_does_not_depend_on_an_offset(problem, build):
    tops = [0, 1, 2, 3]
    assert told(build("turbo", problem, **RULE), [1e9 + top for top in tops]).length == 0.8


def test_starts_again_from_the_prior_when_the_region_has_collapsed(problem, build):
    optimizer = told(build("turbo", problem, length_min=0.15, **RULE), [0, 0, 0])
    assert optimizer.first == 3 and optimizer.length == 0.4
    optimizer.rng.manual_seed(1)
    assert torch.equal(optimizer.ask(7), problem.prior.sample(7, torch.Generator().manual_seed(1)))
    told(optimizer, [-5])
    assert optimizer.first == 3 and optimizer.best == -5, "scores before the restart do not count"


def test_proposals_lie_in_the_trust_region(problem, play, build):
    optimizer = build("turbo", problem, **QUICK)
    play(optimizer, rounds=2)
    v = optimizer.axes(optimizer.to_vectors(optimizer.x))
    center = v[optimizer.mean(v).argmax()]
    scales = optimizer.lengthscale()
    side = optimizer.length * scales / scales.log().mean().exp()
    off = (optimizer.propose(100) - center).abs()
    assert (off <= side / 2 + 1e-9).all() and len(off.unique(dim=0)) == 100


def test_few_proposals_lie_on_the_border_of_the_box(problem, play, build):
    """The part of the region that is in the box is searched, not what clamping makes of the rest."""
    optimizer = build("turbo_raw", problem, **QUICK, length=1.6)
    play(optimizer, rounds=2)
    v = optimizer.propose(100)
    assert ((v == 0) | (v == 1)).double().mean() < 0.01


def test_fits_the_points_closest_to_the_best(problem, play, build):
    optimizer = build("turbo", problem, max_points=20)
    play(optimizer, rounds=1)
    v, best = optimizer.axes(optimizer.to_vectors(optimizer.x)), optimizer.y.argmax()
    distance = (v - v[best]).norm(dim=1)
    kept = (optimizer.v - v[best]).norm(dim=1)
    assert torch.allclose(kept.sort().values, distance.sort().values[:20])


def test_predicts_the_score(problem, play, build):
    optimizer = build("turbo", problem, **QUICK)
    x = play(optimizer).x
    error = optimizer.predict(x) - (-(x - 2).square().mean(1))
    assert error.square().mean() < 0.1 * optimizer.y.var()


def test_beats_random_search(problem, play, build, random_best):
    assert play(build("turbo", problem, **QUICK)).best > random_best / 2


def test_finds_a_corner_of_the_box(cramped, play, build):
    run = play(build("turbo", cramped, **QUICK))
    assert (run.x == cramped.domain.upper).any(), "designs beyond the border are moved onto it"
    assert run.best > -1.2


def test_resumes_from_its_state(problem, play, build):
    optimizer, other = (build("turbo", problem, **QUICK) for _ in range(2))
    play(optimizer, rounds=2)
    other.load_state_dict(optimizer.state_dict())
    for each in (optimizer, other):
        each.rng.manual_seed(5)
    assert torch.equal(optimizer.ask(40), other.ask(40))
