"""Actions that follow from states: a linear system whose behaviour is known."""

import pytest
import torch

from bbo_bench.diffusion import inverse_dynamics
from bbo_bench.diffusion.codecs import Started
from bbo_bench.diffusion.inverse_dynamics import InverseDynamics
from bbo_bench.domains import Box
from bbo_bench.seeding import generator

LENGTH = 6
BOX = Box(
    torch.tensor([-4.0, -4.0, -1.0]).repeat(LENGTH, 1),
    torch.tensor([4.0, 4.0, 1.0]).repeat(LENGTH, 1),
)


def plans(n, rng):
    """Points that are pushed along the first axis, against where they are on average, and drift along the second."""
    s, rows = 2 * torch.randn(n, 2, generator=rng).clamp(-1.5, 1.5), []
    for _ in range(LENGTH):
        a = (-0.3 * s[:, :1] + 0.1 * torch.randn(n, 1, generator=rng)).clamp(-1, 1)
        rows.append(torch.cat([s, a], 1))
        s = s + torch.cat([0.25 * a, torch.full_like(a, 0.05)], 1)
    return torch.stack(rows, 1)


@pytest.fixture(scope="module")
def data():
    return plans(4000, generator(0))


@pytest.fixture(scope="module")
def codec(data):
    patched = pytest.MonkeyPatch()
    patched.setattr(inverse_dynamics, "STEPS", 500)
    with patched.context():
        return InverseDynamics(BOX, 2, data)


def test_actions_are_what_leads_from_a_state_to_the_next(codec):
    x = plans(500, generator(1))
    again = codec.decode(codec.encode(x))
    assert codec.lossy and codec.encode(x).shape == (500, LENGTH, 2) == (500, *codec.latent_shape)
    torch.testing.assert_close(again[..., :2], x[..., :2], atol=1e-5, rtol=1e-5)
    assert float((again - x)[:, :-1, 2].square().mean().sqrt()) < 0.02


def test_the_last_action_is_what_the_data_do_there(codec):
    x = plans(500, generator(1))
    last = codec.decode(codec.encode(x))[:, -1, 2]
    assert float((last + 0.3 * x[:, -1, 0]).square().mean().sqrt()) < 0.03


def test_other_states_have_other_actions_and_none_beyond_the_box(codec):
    x = plans(64, generator(2))
    x[:, 1:, 0] += torch.linspace(0, 1, LENGTH)[1:] * 0.4
    found = codec.decode(codec.encode(x))
    BOX.check(found)
    expected = ((x[:, 1:, 0] - x[:, :-1, 0]) / 0.25).clamp(-1, 1)
    assert float((found[:, :-1, 2] - expected).abs().median()) < 0.1


def test_gradients_reach_states_through_actions(codec, data):
    z = codec.encode(data[:3]).requires_grad_(True)
    codec.decode(z)[..., 2].sum().backward()
    assert z.grad.abs().sum((1, 2)).min() > 0
    assert not any(p.requires_grad for p in codec.parameters())


def test_a_copy_and_what_is_read_back_decode_alike(codec, data):
    z = codec.encode(data[:5])
    blank = InverseDynamics(BOX, 2)
    assert not torch.equal(blank.decode(z), codec.decode(z))
    blank.load_state_dict(codec.state_dict())
    assert torch.equal(blank.decode(z), codec.decode(z))
    assert torch.equal(codec.moved(torch.device("cpu")).decode(z), codec.decode(z))


def test_fitting_again_gives_the_same_numbers(data, monkeypatch):
    monkeypatch.setattr(inverse_dynamics, "STEPS", 20)
    first, again = InverseDynamics(BOX, 2, data), InverseDynamics(BOX, 2, data)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_a_start_can_be_given(codec, data):
    given = torch.zeros(LENGTH, 2, dtype=torch.bool)
    given[0] = True
    started = Started(codec, given, data[:8])
    assert started.lossy and started.latent_shape == (LENGTH, 2)
    z = started.context(8, generator(0))
    found = started.decode(z)[:, 0, :2]
    assert torch.allclose(found[found[:, 0].argsort()], data[:8, 0, :2][data[:8, 0, 0].argsort()], atol=1e-5)
