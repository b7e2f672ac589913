"""Sequential: one policy for all phases, blocks until convergence, and blocks that are taken back."""

from functools import partial

import pytest
import torch

from bbo_bench.optimizers.raft import RAFT
from bbo_bench.optimizers.sequential import Sequential
from bbo_bench.optimizers.sft import SFT
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, problem, tuned
from bbo_bench.testing.probe import Probe, problem_of

B = Linear().b
SETS = {"iterations": 1, "samples": 256, "updates": 20, "batch_size": 128, "training": TRAINING}
PHASES = {
    "raft": partial(RAFT, candidates=4, ranking="global", **SETS),
    "sft": partial(SFT, best=0.25, unlikely=0.0, origin="policy", **SETS),
}


def sequential(**changes):
    settings = {
        "proxy": Linear,
        "phases": PHASES,
        "passes": 1,
        "blocks": 3,
        "tolerance": 0.05,
        "narrowest": 0.0,
        "cuts": 1,
    }
    optimizer = Sequential(problem(20), generator(0), **settings | changes)
    optimizer.x = torch.randn(2, 2, generator=generator(1))
    return optimizer


def test_phases_train_one_policy_with_one_proxy():
    optimizer = sequential()
    assert all(phase.policy is optimizer.policy and phase.proxy is optimizer.proxy for phase in optimizer.phases)
    assert float((tuned(optimizer, 4000) @ B).mean()) > 1.0
    assert optimizer.diagnostics()["blocks"] >= 2


def judgements(*gains, distance=1.0):
    """What `judged` says before and after blocks of these gains, of every sample alike."""
    rewards = [torch.full((4,), value) for gain in gains for value in (0.0, gain)]
    values = iter(rewards)
    return lambda noise=None: (next(values), distance)


def test_a_phase_goes_on_while_it_gains():
    optimizer = sequential(blocks=50, tolerance=0.0)
    optimizer.judged = judgements(1.0, 1.0, 0.5, -1.0, -1.0)
    phase = optimizer.phases[0]
    phase.descend = lambda: 0.0
    phase.training = TRAINING
    assert optimizer.converge(phase, 0.0) == (5, 2), "three gains, then two falls, of which the second ends it"


@pytest.mark.parametrize(("gain", "distance"), [(5.0, 0.1), (-1.0, 1.0)])
def test_a_block_after_which_samples_collapse_is_taken_back_at_half_the_learning_rate(gain, distance):
    optimizer = sequential()
    phase, rates = optimizer.phases[0], []
    before = {name: w.clone() for name, w in optimizer.policy.weights().items()}

    def descend():
        rates.append(phase.training.learning_rate)
        with torch.no_grad():
            for w in optimizer.policy.trainable().values():
                w += 1

    phase.descend = descend
    optimizer.judged = judgements(gain, gain, distance=distance)
    assert optimizer.converge(phase, 0.5) == (2, 2)
    assert rates == [TRAINING.learning_rate, TRAINING.learning_rate / 2]
    assert phase.training == TRAINING
    assert all(torch.equal(w, before[name]) for name, w in optimizer.policy.weights().items())


def test_a_fall_that_chance_explains_is_not_taken_back():
    optimizer = sequential(tolerance=0.0)
    optimizer.phases[0].descend = lambda: 0.0
    after = torch.tensor([-1.0, 0.9, -1.0, 0.9])
    values = iter([torch.zeros(4), after])
    optimizer.judged = lambda noise=None: (next(values), 1.0)
    assert optimizer.converge(optimizer.phases[0], 0.0) == (1, 0)


def test_blocks_that_change_nothing_are_never_taken_back():
    optimizer = sequential(blocks=1, tolerance=0.0)
    optimizer.y = torch.tensor([-1.0, 1.0])
    optimizer.phases[0].descend = lambda: float(torch.rand((), generator=optimizer.rng))
    assert [optimizer.converge(optimizer.phases[0], 0.0) for _ in range(20)] == [(1, 0)] * 20


def test_samples_before_and_after_are_of_the_same_noise():
    optimizer = sequential()
    tuned(optimizer, 1)
    noise = optimizer.rng.get_state()
    first, _ = optimizer.judged()
    onward = optimizer.rng.get_state()
    again, _ = optimizer.judged(noise)
    assert torch.equal(first, again) and torch.equal(optimizer.rng.get_state(), onward)
    assert not torch.equal(first, optimizer.judged()[0])


def test_diversity_in_the_reward_keeps_samples_apart():
    spreads = [
        float(torch.pdist(tuned(sequential(diversity=weight, tolerance=0.0), 500)).mean()) for weight in (0.0, 3.0)
    ]
    assert spreads[1] > spreads[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"phases": {}}, "counts of at least 1, got phases=0"),
        ({"passes": 0}, "got passes=0"),
        ({"proxy": None}, "got proxy=null"),
        ({"narrowest": 1.0}, "0 <= narrowest < 1.*narrowest=1.0"),
        ({"cuts": -1}, "cuts >= 0.*cuts=-1"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        sequential(**setting)


def test_phases_that_train_other_weights_are_refused(build):
    with pytest.raises(ValueError, match=r"one lora_rank for all phases.*got \[4, 16, 16\]"):
        build("sequential", problem_of(Probe(), (8,)), phases={"reinforce": {"training": {"lora_rank": 4}}})
