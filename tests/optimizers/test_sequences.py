"""Evolution and Bayesian optimization of sequences: what they propose, and that they find motifs."""

import itertools

import pytest
import torch

from bbo_bench.core import Prior, Problem
from bbo_bench.domains import Sequences
from bbo_bench.seeding import generator
from bbo_bench.surrogate.gp import fit_gp, hamming

SETTINGS = {
    "genetic": {"parents": 0.02, "crossover": 0.7, "mutations": 2.8},
    "turbo": {"fit_steps": 20},
    "turbo_m": {"inner": {"fit_steps": 20, "chunk": 160}, "regions": 2},
    "qlogei": {"fit_steps": 20, "mc_samples": 16},
}
"""A search for the best alone; the genetic algorithm's own settings are for many good ones that differ."""


class Uniform(Prior):
    """Draws sequences uniformly."""

    def __init__(self, domain):
        self.domain, self.latent_shape = domain, domain.shape

    def sample(self, n, rng):
        return self.domain.sample(n, rng)

    def decode(self, z):
        return z

    def encode(self, x):
        return x

    def to(self, device):
        return self


def problem_of(length, size, rounds):
    domain = Sequences(length, "ABCDEFGH"[:size])
    return Problem(domain, Uniform(domain), rounds)


def matches(x):
    """Positions that hold the first token."""
    return (x == 0).double().sum(1)


def played(optimizer, rounds, seed=0):
    for i, n in enumerate(rounds):
        optimizer.rng.manual_seed(i)
        x = optimizer.ask(n) if i else optimizer.problem.prior.sample(n, generator(seed, "start"))
        optimizer.tell(optimizer.domain.check(x), matches(x))
    return optimizer


SLOW = ("turbo", "turbo_m")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SETTINGS])
def test_finds_a_target_sequence(build, name):
    rounds = (40, 80, 160, 160)
    optimizer = played(build(name, problem_of(20, 4, rounds), **SETTINGS[name]), rounds)
    uniform = matches(optimizer.domain.sample(sum(rounds), generator(1))).max()
    assert matches(optimizer.recommend(1)) >= uniform + 3


@pytest.mark.parametrize("name", SETTINGS)
def test_asks_for_no_sequence_twice_while_there_are_others(build, name):
    rounds = (8, 16, 24)
    optimizer = played(build(name, problem_of(5, 4, rounds), **SETTINGS[name]), rounds[:2])
    x = torch.cat([optimizer.x, optimizer.ask(24)])
    assert len(x[8:].unique(dim=0)) == len(x[8:])  # round 0 is the prior's
    told = {tuple(row) for row in optimizer.x.tolist()}
    assert not told & {tuple(row) for row in x[24:].tolist()}


@pytest.mark.parametrize("name", SETTINGS)
def test_goes_on_where_all_sequences_are_known(build, name):
    optimizer = build(name, problem_of(2, 2, (4, 8)), **SETTINGS[name])
    every = torch.tensor(list(itertools.product(range(2), repeat=2)))
    optimizer.tell(every, matches(every))
    optimizer.domain.check(optimizer.ask(8))


def test_expected_improvement_picks_the_best_first_and_then_what_differs_from_it(build):
    """Of a pool of two motifs and their neighbours, the second pick adds to the first one."""
    optimizer = played(build("qlogei", problem_of(6, 4, (60, 8)), mc_samples=256), (60,))
    pool = optimizer.unseen(optimizer.domain.sample(300, generator(1)).double())
    optimizer.rng.manual_seed(0)
    chosen = optimizer._chosen(pool, optimizer.gp, optimizer.v, 4)
    assert len(chosen.unique(dim=0)) == 4
    predicted = optimizer.mean(pool)
    assert optimizer.mean(chosen).min() > predicted.quantile(0.9)


def test_a_pool_is_bred_towards_improvement(build):
    optimizer = played(build("qlogei", problem_of(20, 4, (60, 8))), (60,))
    pool = optimizer._bred(40)
    told = {tuple(row) for row in optimizer.x.tolist()}
    assert len(pool) == 40 and not told & {tuple(row) for row in pool.long().tolist()}
    assert optimizer.mean(pool).min() > optimizer.mean(optimizer.v).quantile(0.9)


@pytest.mark.parametrize("crossover", [0.0, 0.5, 1.0])
def test_children_are_a_parent_or_the_beginning_of_one_and_the_end_of_another(build, crossover):
    optimizer = build("genetic", problem_of(12, 8, (30,)), crossover=crossover)
    parents = torch.arange(6.0)[:, None].expand(6, 12)  # every token says whose it is
    children = optimizer._recombine(parents, 20_000)
    places = (children[:, 1:] != children[:, :-1]).sum(1)
    assert places.max() == (crossover > 0), "tokens change their parent in one place at most"
    assert float(places.double().mean()) == pytest.approx(crossover * 5 / 6, abs=0.01), "two of six differ"
    ends = children[places == 1]
    if len(ends):
        place = (ends[:, 1:] != ends[:, :-1]).double().argmax(1)
        assert torch.bincount(place, minlength=11).double().std() / len(place) < 0.01, "in any of them alike"


def test_every_child_is_new(build):
    optimizer = played(build("genetic", problem_of(12, 8, (30,)), mutations=1.0, crossover=0.0), (30,))
    parents, children = optimizer.top(8), optimizer.ask(200)
    distance = (children[:, None] != parents).sum(2).amin(1)
    assert (distance == 1).all()


def test_mutations_are_as_many_as_asked_for_and_uniform(build):
    optimizer = build("genetic", problem_of(10, 4, (30,)), mutations=2.0)
    u = torch.full((50_000, 10), 3.0, dtype=torch.double)
    mutated = optimizer.mutated(u, optimizer.mutations)
    assert float((mutated != 3).sum(1).double().mean()) == pytest.approx(2, abs=0.02)  # one falls on it
    assert ((mutated != 3).any(1)).all()
    shares = torch.stack([(mutated[mutated != 3] == token).double().mean() for token in range(3)])
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3, dtype=torch.double), atol=0.01, rtol=0)


def test_turbo_stays_in_its_hamming_ball(build):
    optimizer = played(build("turbo", problem_of(20, 4, (40, 8)), fit_steps=20, length=0.25), (40,))
    center = optimizer.x[optimizer.predict(optimizer.x).argmax()]
    distance = (optimizer.ask(100) != center).sum(1)
    assert distance.max() <= 5 and distance.min() >= 1 and len(distance.unique()) > 2


def test_turbo_predicts_the_score_of_sequences(build):
    optimizer = played(build("turbo", problem_of(6, 4, (60,))), (60,))
    torch.testing.assert_close(optimizer.predict(optimizer.x), matches(optimizer.x), atol=0.15, rtol=0)


def test_the_kernel_is_that_of_weighted_hamming_distances():
    v = torch.randint(4, (12, 3), generator=generator(0)).double()
    kernel = fit_gp(v, v[:, 0], 5, hamming(Sequences(3, "ABCD"))).covar_module
    scale = kernel.lengthscale.detach().squeeze()
    expected = torch.exp(-0.5 * ((v[:, None] != v) / scale.square()).sum(-1))
    torch.testing.assert_close(kernel(v, v).to_dense().detach(), expected)


def test_lengthscales_tell_which_positions_matter():
    v = torch.randint(4, (150, 3), generator=generator(0)).double()
    scale = fit_gp(v, (v[:, 1] == 2).double(), 50, hamming(Sequences(3, "ABCD")))
    scale = scale.covar_module.lengthscale.detach().squeeze()
    assert scale[1] < scale[[0, 2]].min() / 2
