"""Cascade: consistent pairs, a second model that starts as the prior, passes that go up."""

from itertools import pairwise

import pytest
import torch

from bbo_bench.alignment.credit import Truncation
from bbo_bench.core import Problem
from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.domains import Box
from bbo_bench.optimizers.cascade import Cascade
from bbo_bench.optimizers.reinforce import Reinforce
from bbo_bench.seeding import generator, seeded
from bbo_bench.testing.gaussian import SCHEDULER, TRAINING, Linear, problem, tuned

B = Linear().b


def cascade(task=None, **changes):
    settings = {
        "proxy": Linear,
        "shared": "latent",
        "step": 0.5,
        "passes": 3,
        "trained": 3,
        "iterations": 6,
        "samples": 512,
        "updates": 40,
        "batch_size": 256,
        "width": 32,
        "aligned": None,
        "reinforced": 0,
        "training": TRAINING,
    }
    optimizer = Cascade(task or problem(20), generator(0), **settings | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def test_untrained_it_does_what_the_prior_does():
    optimizer = cascade()
    z = torch.randn(5, 2, generator=generator(1))
    optimizer.condition(3 * z)
    for k in (0, 7, 19):
        t = optimizer.transition.timesteps[k]
        torch.testing.assert_close(optimizer.policy(z, t), optimizer.reference(z, t))


@pytest.mark.parametrize("shared", ["latent", "segment", "nothing"])
def test_pairs_are_ordered(shared):
    better, worse = cascade(shared=shared).pairs()
    assert better.shape == worse.shape == (512, 2)
    assert (better @ B >= worse @ B).all()


def test_the_two_of_a_pair_share_what_they_are_to():
    def distance(**settings):
        better, worse = cascade(**settings, trained=1, passes=1).pairs()
        return float((better - worse).norm(dim=1).mean())

    near, half, far = (distance(shared="latent", step=step) for step in (0.9, 0.5, 0.0))
    assert near < half < far
    assert far == pytest.approx(distance(shared="nothing"), rel=0.1), "the noisiest latent says nothing"
    with seeded(generator(0)):
        denoiser = MLP(8, width=16, depth=1)
    box = Box(torch.full((8,), -20.0), torch.full((8,), 20.0))
    prior = DiffusionPrior(denoiser, Standardize(box), SCHEDULER, {"steps": 20})

    class Sum(Linear):
        def __call__(self, z):
            return z.sum(1)

    better, worse = cascade(Problem(box, prior, (2,)), shared="segment", proxy=Sum).pairs()
    same = better == worse
    assert same[:, 0].all() and not same[:, -1].any()
    assert (same.int().diff(dim=1) <= 0).all(), "a prefix"


@pytest.mark.parametrize("shared", ["latent", "nothing"])
def test_every_pass_goes_up(shared):
    optimizer = cascade(shared=shared)
    tuned(optimizer, 1)
    means = [float((z @ B).mean()) for z in optimizer.cascaded(4000, 3)]
    assert all(after > before + 0.1 for before, after in pairwise(means)), means


def test_it_learns_from_queried_designs_alone():
    optimizer = cascade(proxy=None, shared="nothing", passes=1, trained=1)
    optimizer.x = optimizer.prior.decode(optimizer.prior.sample(200, generator(1)))
    optimizer.y = optimizer.x @ B
    optimizer.learn()
    assert float((optimizer.sample(2000) @ B).mean()) > 0.3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"shared": "end"}, "latent, segment, nothing, got shared='end'"),
        ({"step": 1.0}, "0 <= step < 1.*got step=1.0"),
        ({"passes": 3, "trained": 2}, "passes <= trained <= 3.*got passes=3, trained=2"),
        ({"passes": 2, "trained": 4}, "passes <= trained <= 3.*got passes=2, trained=4"),
        ({"proxy": None}, "learns from pairs that something orders.*got shared='latent'"),
        ({"kl_weight": 0.1}, "kl_weight"),
        ({"updates": 0}, "got updates=0"),
        ({"reinforced": -1}, "got reinforced=-1"),
        ({"proxy": None, "shared": "nothing", "trained": 1, "passes": 1, "reinforced": 1}, "and a proxy.*reinforced=1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        cascade(**setting)


def test_pairs_begin_with_what_every_pass_but_the_last_has_made():
    optimizer, passes = cascade(samples=4, trained=3), []
    whole = optimizer.cascaded
    optimizer.cascaded = lambda n, passed: passes.append(passed) or whole(n, passed)
    for _ in range(30):
        optimizer.pairs()
    assert set(passes) == {0, 1, 2}


def aligning(problem, rng, **shared):
    """REINFORCE with a budget of four nats."""
    return Reinforce(
        problem,
        rng,
        truncation=Truncation(first=None, last=None),
        credit=None,
        kl_weight=None,
        kl_budget=4.0,
        iterations=60,
        samples=128,
        epochs=1,
        minibatches=1,
        clip=None,
        max_advantage=5.0,
        training=TRAINING,
        **shared,
    )


def test_it_is_appended_to_what_another_method_has_aligned():
    """What is passed on is the aligned policy's, and every pass still goes up."""
    optimizer = cascade(aligned=aligning)
    tuned(optimizer, 1)
    means = [float((z @ B).mean()) for z in optimizer.cascaded(4000, 3)]
    assert means[0] > 0.5, "the prior's mean is 0"
    assert all(after > before + 0.1 for before, after in pairwise(means)), means
    assert optimizer.diagnostics()["aligned_kl"] == optimizer.aligned.diagnostics()["kl"] > 1


def test_an_aligned_policy_is_part_of_the_state():
    class Kept(Linear):
        def load_state_dict(self, state, device):
            pass

    optimizer, other = cascade(aligned=aligning, proxy=Kept), cascade(aligned=aligning, proxy=Kept)
    optimizer.x = other.x = torch.zeros(2, 2)
    tuned(optimizer, 1)
    other.load_state_dict(optimizer.state_dict())
    other.rng.set_state(optimizer.rng.get_state())
    assert torch.equal(optimizer.sample(5), other.sample(5))


def test_the_second_model_can_be_aligned_itself():
    plain, reinforced = cascade(iterations=1), cascade(iterations=1, reinforced=80)
    for each in (plain, reinforced):
        tuned(each, 1)
    assert float((reinforced.sample(4000) @ B).mean()) > float((plain.sample(4000) @ B).mean()) + 0.3


def test_the_gradient_of_its_alignment_is_that_of_the_mean_reward():
    """By the score function, on many designs: the way in which a shift of all outputs moves the reward."""
    optimizer = cascade(samples=8, batch_size=8192, passes=1, reinforced=1)
    for weight in optimizer.policy.trainable().values():
        weight.requires_grad_(False)
    shift = torch.zeros(2, requires_grad=True)
    inner = optimizer.policy.network.forward
    optimizer.policy.network.forward = lambda x, t: inner(x, t) + shift
    optimizer.reinforce().backward()
    along = float(-shift.grad @ B / B.norm())
    across = float(-shift.grad @ torch.stack([-B[1], B[0]]) / B.norm())
    assert abs(across) < 0.15 * abs(along)
    k = torch.arange(optimizer.first, optimizer.transition.steps)
    assert along * float(optimizer.transition.on_output[k].sum()) > 0, "outputs that raise the mean"
