"""Evolution that a model leads: AdaLead and PEX; and the floors, local and random search."""

import itertools

import pytest
import torch

from bbo_bench.core import UnsuitableError
from bbo_bench.optimizers.pex import envelope
from bbo_bench.seeding import generator
from tests.optimizers.test_sequences import matches, played, problem_of

QUICK = {"proxy": {"updates": 200, "width": 32}}
ROUNDS = (40, 80, 160, 160)


@pytest.mark.parametrize("name", ["adalead", "pex"])
def test_a_model_finds_a_target_that_mutation_alone_does_not(build, name):
    optimizer = played(build(name, problem_of(20, 4, ROUNDS), **QUICK), ROUNDS)
    blind = played(build("local_search", problem_of(20, 4, ROUNDS), best=1), ROUNDS)
    uniform = matches(optimizer.domain.sample(sum(ROUNDS), generator(1))).max()
    assert matches(optimizer.recommend(1)) >= uniform + 3
    assert matches(optimizer.recommend(1)) > matches(blind.recommend(1))
    error = optimizer.predict(optimizer.x) - matches(optimizer.x)
    assert error.square().mean() < 0.2 * optimizer.y.var()


@pytest.mark.parametrize("name", ["adalead", "pex", "local_search"])
def test_nothing_is_asked_for_twice_and_known_domains_are_survived(build, name):
    settings = {} if name == "local_search" else QUICK
    optimizer = played(build(name, problem_of(5, 4, (8, 16, 24)), **settings), (8, 16))
    asked = torch.cat([optimizer.x, optimizer.ask(24)])
    assert len(asked[8:].unique(dim=0)) == len(asked[8:])  # round 0 is the prior's
    small = build(name, problem_of(2, 2, (4, 8)), **settings)
    every = torch.tensor(list(itertools.product(range(2), repeat=2)))
    small.tell(every, matches(every))
    assert len(small.domain.check(small.ask(8))) == 8


@pytest.mark.parametrize("name", ["adalead", "pex"])
def test_equal_scores_and_rounds_of_one_are_survived(build, name):
    optimizer = build(name, problem_of(6, 4, (1, 1, 5)), **QUICK)
    for n in (1, 1, 5):
        x = optimizer.ask(n) if optimizer.rounds else optimizer.domain.sample(1, generator(0))
        optimizer.tell(optimizer.domain.check(x), torch.full((n,), 2.0, dtype=torch.double))
    assert optimizer.predict(optimizer.x).isfinite().all()


@pytest.mark.parametrize("name", ["adalead", "pex"])
def test_they_resume_with_their_model(build, name):
    optimizer, other = (build(name, problem_of(8, 4, (20, 20)), **QUICK) for _ in range(2))
    played(optimizer, (20, 20))
    other.load_state_dict(optimizer.state_dict())
    for each in (optimizer, other):
        each.rng.manual_seed(5)
    assert torch.equal(optimizer.ask(12), other.ask(12))
    assert torch.equal(optimizer.predict(optimizer.x), other.predict(optimizer.x))


def test_boxes_are_refused(build, problem):
    for name in ("adalead", "pex"):
        with pytest.raises(UnsuitableError, match="searches a Sequences, got the domain Box"):
            build(name, problem)


def test_parents_of_adalead_are_close_to_the_best_whatever_the_offset(build):
    for offset in (0.0, -1e6):
        optimizer = build("adalead", problem_of(6, 4, (50,)), threshold=0.5, **QUICK)
        x = optimizer.domain.sample(50, generator(0))
        y = torch.linspace(0, 1, 50).double() + offset
        optimizer.tell(x, y)
        near = x[y >= y.max() - 0.5 * y.std()].double().unique(dim=0)
        assert torch.equal(optimizer._parents(), near)


def test_adalead_recombines_in_strands(build):
    optimizer = build("adalead", problem_of(12, 8, (30,)), recombination=0.3, **QUICK)
    parents = torch.arange(5000.0)[:, None].expand(5000, 12).double()
    children = optimizer._recombined(parents)
    assert (children[:, 1:] != children[:, :-1]).double().mean() == pytest.approx(0.3, abs=0.01)
    assert max(len(row.unique()) for row in children[:200]) == 2
    assert torch.equal(build("adalead", problem_of(12, 8, (30,)), recombination=0.0)._recombined(parents), parents)


def test_mutants_differ_in_one_place_at_least_and_as_many_as_expected(build):
    optimizer = build("adalead", problem_of(10, 4, (30,)), **QUICK)
    u = torch.full((40_000, 10), 3.0, dtype=torch.double)
    assert ((optimizer.mutated(u, 1.0) != 3).sum(1) == 1).all()
    changed = optimizer.mutated(u, 2.8) != 3
    assert changed.any(1).all()
    assert float(changed.sum(1).double().mean()) == pytest.approx(2.8, abs=0.03)


@pytest.mark.parametrize(
    ("points", "hull"),
    [
        ([(0, 1.0), (1, 3.0), (2, 4.0), (3, 4.5)], {0, 1, 2, 3}),
        ([(0, 1.0), (1, 1.5), (2, 4.0), (3, 3.0)], {0, 2}),
        ([(2, 5.0), (2, 4.0), (5, 5.0)], {0}),
        ([(4, 1.0)], {0}),
        ([(0, 0.0), (1, 1.0), (2, 2.0)], {0, 2}),
    ],
)
def test_the_envelope_is_concave_and_rises(points, hull):
    order = sorted(range(len(points)), key=lambda i: -points[i][1])
    found = envelope([points[i][0] for i in order], [points[i][1] for i in order])
    assert {order[i] for i in found} == hull


def test_the_frontier_of_pex_scores_more_than_all_that_is_closer(build):
    optimizer = build("pex", problem_of(6, 4, (40,)), neighbours=2, **QUICK)
    x = optimizer.domain.sample(40, generator(0))
    y = matches(x) + torch.linspace(0, 0.1, 40)
    optimizer.tell(x, y.double())
    wild = x[y.argmax()]
    distance = (x != wild).sum(1)
    kept = set()
    for each in range(7):
        closer = y[distance < each]
        own = [i for i in (distance == each).nonzero()[:, 0].tolist() if not len(closer) or y[i] > closer.max()]
        kept |= set(sorted(own, key=lambda i: -y[i])[:2])
    assert {tuple(row) for row in optimizer._frontier(wild.double()).tolist()} == {tuple(x[i].tolist()) for i in kept}


def test_neighbours_are_as_near_as_there_are(build):
    optimizer = build("local_search", problem_of(4, 3, (5, 40)), best=1)
    x = torch.zeros(1, 4, dtype=torch.long)
    optimizer.tell(x, matches(x))
    distance = (optimizer.ask(30) != 0).sum(1)
    assert torch.bincount(distance).tolist()[:2] == [0, 8], "all eight that differ in one token"
    assert distance.max() == 2


def test_steps_are_in_round_zeros_deviations(problem, play, build):
    optimizer = build("local_search", problem, best=1, step=0.5)
    play(optimizer, rounds=1)
    steps = optimizer.ask(20_000) - optimizer.recommend(1)
    assert torch.allclose(steps.std(0) / optimizer.x.std(0), torch.full((10,), 0.5), atol=0.02)


def test_local_search_beats_random_search(problem, play, build, random_best):
    assert play(build("local_search", problem)).best > random_best


def test_random_search_is_uniform(problem, play, build):
    optimizer = build("random_search", problem)
    play(optimizer, rounds=1)
    x = optimizer.ask(20_000)
    assert torch.allclose(x.amin(0), torch.full((10,), -10.0), atol=0.05)
    assert torch.allclose(x.mean(0), torch.zeros(10), atol=0.2)


def test_local_search_moves_where_round_0_tells_no_spread(problem, build):
    optimizer = build("local_search", problem)
    optimizer.tell(torch.zeros(1, 10), torch.zeros(1).double())
    assert len(optimizer.ask(20).unique(dim=0)) == 20


def test_adalead_needs_predictions_for_children_too(build):
    with pytest.raises(ValueError, match="expected predictions >= 2"):
        build("adalead", problem_of(6, 4, (8,)), predictions=1)
