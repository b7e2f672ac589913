"""Every method that steers a diffusion steers a rectified flow too: they know the sampler by its coefficients alone."""

import math

import pytest
import torch

from bbo_bench.core import Problem
from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.plugins import choices
from bbo_bench.seeding import generator, seeded
from bbo_bench.testing.gaussian import FLOW, Velocity
from bbo_bench.testing.probe import Probe, made

OURS = {name: choice.settings for name, choice in choices("optimizer").items()}
SEQUENCES = {"adalead", "pex"}
"""They have a proxy of sequences, and no prior."""
STEERING = sorted(
    name
    for name, it in OURS.items()
    if "proxy" in it and it["_target_"].split(".")[-2] == name and name not in SEQUENCES
)


@pytest.mark.every_plugin
@pytest.mark.parametrize("name", STEERING)
def test_a_flow_is_steered(name):
    task = Probe()
    with seeded(generator(0)):
        denoiser = Velocity(2, width=16, depth=1)
    distillation = {"steps": 5, "passes": 2, "trajectories": 64}
    prior = DiffusionPrior(denoiser, Standardize(task.domain), FLOW, {"steps": 5, "eta": 0.7}, distillation)
    optimizer = made("optimizer", name)(Problem(task.domain, prior, (16, 16), task.offline()), generator(0))
    designs = [prior.decode(prior.sample(16, generator(1)))]
    optimizer.tell(designs[0], task.evaluate(designs[0]))
    designs.append(optimizer.ask(16))
    optimizer.tell(designs[1], task.evaluate(designs[1]))
    designs.append(optimizer.recommend(16))
    assert all(task.domain.check(x).isfinite().all() for x in designs)
    assert all(math.isfinite(number) for number in optimizer.diagnostics().values())
    assert not torch.equal(designs[1], designs[2])
