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


def test_a_phase_goes_on_while_it_gains():
    optimizer = sequential(blocks=50, tolerance=0.0)
    values = iter([0.0, 1.0, 2.0, 2.5, 2.5 - 1e-9, 1.0, 1.0])
    optimizer.judged = lambda: (next(values), 1.0)
    phase = optimizer.phases[0]
    phase.descend = lambda: 0.0
    phase.training = TRAINING
    assert optimizer.converge(phase, 0.0) == (5, 2), "three gains, then two falls, of which one ends it"


@pytest.mark.parametrize("outcome", [(5.0, 0.1), (-1.0, 1.0)])
def test_a_block_after_which_samples_collapse_is_taken_back_at_half_the_learning_rate(outcome):
    optimizer = sequential()
    phase, rates = optimizer.phases[0], []
    before = {name: w.clone() for name, w in optimizer.policy.weights().items()}

    def descend():
        rates.append(phase.training.learning_rate)
        with torch.no_grad():
            for w in optimizer.policy.trainable().values():
                w += 1

    phase.descend = descend
    values = iter([(0.0, 1.0), outcome, outcome])
    optimizer.judged = lambda: next(values)
    assert optimizer.converge(phase, 0.5) == (2, 2)
    assert rates == [TRAINING.learning_rate, TRAINING.learning_rate / 2]
    assert phase.training == TRAINING
    assert all(torch.equal(w, before[name]) for name, w in optimizer.policy.weights().items())


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
