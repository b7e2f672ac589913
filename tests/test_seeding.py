import random

import numpy as np
import pytest
import torch

from bbo_bench.seeding import derive, generator, seeded


def test_a_seed_stays_what_it_is():
    # printf "(0, 'noise', 3)" | sha256sum: the first eight bytes, little-endian, halved
    assert derive(0, "noise", 3) == 4204803787491696027


def test_streams_are_distinct():
    names = [("noise", 0), ("noise", 1), ("ask", 0), ("noise", "0"), ("noise0",), ()]
    seeds = {derive(seed, *name) for seed in range(100) for name in names}
    assert len(seeds) == 600
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_streams_are_uncorrelated():
    draws = torch.stack([torch.randn(10_000, generator=generator(0, "stream", i)) for i in range(5)])
    off = draws.corrcoef() - torch.eye(5)
    assert off.abs().max() < 0.05


def drawn():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_seeded_lends_the_generator():
    outcomes = []
    for disturbance in range(2):
        random.seed(disturbance)
        np.random.seed(disturbance)
        torch.manual_seed(disturbance)
        with seeded(generator(3)) as seed:
            outcomes.append((seed, drawn()))
    assert outcomes[0] == outcomes[1]
    assert 0 <= outcomes[0][0] < 2**31


def test_seeded_moves_the_generator_on():
    rng = generator(3)
    outcomes = []
    for _ in range(2):
        with seeded(rng):
            outcomes.append(drawn())
    assert outcomes[0] != outcomes[1]


@pytest.mark.parametrize("fails", [False, True])
def test_seeded_puts_the_global_states_back(fails):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()

    before = states()
    try:
        with seeded(generator(0)):
            drawn()
            assert states() != before
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert states() == before
