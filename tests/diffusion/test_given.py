"""A part of the latent that is given: no step changes it, and nothing that is measured of a step counts it."""

import pytest
import torch

from bbo_bench.diffusion.codecs import Codec, Prompted, Standardize
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.domains import Box
from bbo_bench.seeding import generator, seeded
from bbo_bench.testing.gaussian import SCHEDULER

PROMPTS = 3
K = torch.tensor([0, 7, 19])


def prior(given=True):
    """Of vectors of two numbers, with a prompt's code as the third, or without."""
    box = Box(torch.full((2,), -9.0), torch.full((2,), 9.0))
    with seeded(generator(0, "weights")):
        net = MLP(2 + given, width=16, depth=1)
        torch.nn.init.normal_(net.out.weight)
    codec = Standardize(box)
    return DiffusionPrior(
        net, Prompted(codec, torch.linspace(-1, 1, PROMPTS)) if given else codec, SCHEDULER, {"steps": 20}
    )


@pytest.fixture
def states():
    """Latents and what goes with them, three of each, made of random numbers all over."""
    return torch.randn(4, 3, 3, generator=generator(0, "states"))


def test_no_step_changes_what_is_given(states):
    step, (x, output, noise, x0) = prior().transition, states
    made = {
        "mean": step.mean(K, x, output),
        "denoise": step.denoise(K, x, output),
        "step": step.step(K, x, generator(1)),
        "noise": step.noise(K, x, noise),
        "noise_back": step.noise_back(7, x, noise),
        "denoise_by_mean": step.denoise_by_mean(K, x, step.mean(K, x, output)),
    }
    for name, z in made.items():
        assert torch.equal(z[:, 2], x[:, 2]), name
        assert not torch.isclose(z[:, :2], x[:, :2]).any(), name
    for name, z in {"noise_in": step.noise_in(K, x, x0), "target": step.target(K, x, x0)}.items():
        assert torch.equal(z[:, 2], torch.zeros(3)), name


def test_the_others_are_as_if_nothing_were_given(states):
    held, free, (x, y, *_) = prior().transition, prior(given=False).transition, states
    inner = x[:, :2], y[:, :2]
    for name in ("mean", "denoise", "noise", "noise_in", "target"):
        assert torch.equal(getattr(held, name)(K, x, y)[:, :2], getattr(free, name)(K, *inner)), name


def test_densities_and_divergences_count_what_is_designed(states):
    held, free, (x, output, other, drawn) = prior().transition, prior(given=False).transition, states
    mean, reference = held.mean(K, x, output), held.mean(K, x, other)
    following = held.held(drawn, x)
    torch.testing.assert_close(held.log_prob(K, mean, following), free.log_prob(K, mean[:, :2], following[:, :2]))
    torch.testing.assert_close(held.kl(K, mean, reference), free.kl(K, mean[:, :2], reference[:, :2]))


def test_the_network_reads_what_is_given_and_predicts_nothing_for_it(states):
    one = prior()
    x, t = states[0], torch.tensor([10, 500, 900])
    output = one.denoiser(x, t)
    assert torch.equal(output[:, 2], torch.zeros(3))
    assert not torch.isclose(output, one.denoiser(x + torch.tensor([0.0, 0.0, 1.0]), t))[:, :2].any()


def test_moved_and_asked_for_other_steps_it_still_holds():
    one = prior()
    for step in (one.to(torch.device("cpu")).transition, one.sampler(5), one.sampler(5, eta=0.0)):
        assert torch.equal(step.given, torch.tensor([False, False, True]))
    assert one.size == 2
    assert prior(given=False).size == 2


@pytest.mark.parametrize("n", [1, 2, 3, 7, 30])
def test_noise_is_for_each_prompt_as_often_as_for_every_other(n):
    one = prior()
    count = torch.bincount(one.codec.prompt(one.noise(n, generator(n))), minlength=PROMPTS)
    assert int(count.sum()) == n
    assert int(count.max() - count.min()) <= 1


def test_no_prompt_is_always_first():
    one = prior()
    assert {int(one.codec.prompt(one.noise(1, generator(seed)))) for seed in range(30)} == {0, 1, 2}


def test_copies_have_one_prompt_and_noise_of_their_own():
    one = prior()
    z = one.noise(5, generator(0), copies=4)
    assert torch.equal(z[:, 2], one.noise(5, generator(0), copies=4)[:, 2])
    assert (z.reshape(5, 4, 3)[..., 2].std(1) == 0).all()
    assert len(z[:, 0].unique()) == 20
    sampled = one.sample(5, generator(0), copies=4)
    assert torch.equal(sampled[:, 2], z[:, 2])


def test_other_prompts_are_drawn_in_the_meantime():
    one = prior()
    with one.drawing(range(1, 2)):
        assert set(one.codec.prompt(one.noise(9, generator(0))).tolist()) == {1}
    assert set(one.codec.prompt(one.noise(9, generator(0))).tolist()) == {0, 1, 2}
    with pytest.raises(ValueError, match=r"expected a prior of prompts, .* got one of Standardize"):
        prior(given=False).drawing(range(1)).__enter__()


def test_every_prompt_is_drawn_in_the_meantime_also_those_not_asked_for():
    some, plain = prior(), prior(given=False)
    some.codec.drawn = torch.tensor([1])
    with some.every_prompt():
        assert torch.bincount(some.codec.prompt(some.noise(6, generator(0)))).tolist() == [2, 2, 2]
    assert set(some.codec.prompt(some.noise(6, generator(0))).tolist()) == {1}
    with plain.every_prompt():
        inside = plain.noise(3, generator(0))
    assert torch.equal(inside, plain.noise(3, generator(0)))


def test_pictures_carry_their_prompt_as_one_more_channel():
    box = Box(torch.zeros(2, 3, 4), torch.ones(2, 3, 4))
    codes = torch.randn(PROMPTS, 3, 4, generator=generator(0))
    codec = Prompted(Standardize(box), codes)
    x = torch.rand(5, 2, 3, 4, generator=generator(1))
    number = torch.tensor([0, 2, 1, 1, 0])
    designs = torch.cat([x, number.reshape(5, 1, 1, 1).expand(5, 1, 3, 4).float()], 1)
    z = codec.encode(designs)
    assert z.shape == (5, 3, 3, 4)
    assert torch.equal(z[:, 2], codes[number])
    assert torch.equal(codec.prompt(z), number)
    torch.testing.assert_close(codec.decode(z), designs)


def test_a_codec_that_has_something_given_must_say_what():
    class Silent(Standardize):
        def __init__(self, box):
            super().__init__(box)
            self.given = torch.tensor([True, False])

    box = Box(torch.full((2,), -9.0), torch.full((2,), 9.0))
    silent = DiffusionPrior(MLP(2, width=8, depth=1), Silent(box), SCHEDULER, {"steps": 5})
    with pytest.raises(NotImplementedError, match="Silent has something given, and must say in `context` what"):
        silent.noise(3, generator(0))
    assert issubclass(Silent, Codec)


def test_prompts_with_one_code_are_refused():
    with pytest.raises(ValueError, match="a code of its own for every prompt"):
        Prompted(Standardize(Box(torch.zeros(2), torch.ones(2))), torch.tensor([1.0, 2.0, 1.0]))
