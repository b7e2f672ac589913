"""Nothing in a training loop waits for the device: on a GPU each number that Python reads would stall it."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bbo_bench.alignment.finetune import FineTuner
from bbo_bench.plugins import choices
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import made, problem_of

WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "unique", "_unique2")
"""Operations whose outcome, or its size, is a number that the host waits for."""


class Waits(TorchDispatchMode):
    """Counts them between two steps of an optimizer that trains some weights."""

    def __init__(self):
        super().__init__()
        self.now, self.between, self.weights = Counter(), [], set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in WAITS:
            self.now[name] += 1
        return function(*args, **(kwargs or {}))


def is_fine_tuner(name):
    optimizer = made("optimizer", name)
    return isinstance(getattr(optimizer, "func", None), type) and issubclass(optimizer.func, FineTuner)


NAMES = [
    name for name, choice in choices("optimizer").items() if name == choice.file.parent.name and is_fine_tuner(name)
]


@pytest.mark.every_plugin("sqdf", "ddpo", "grpo", "draft", "d3po", "awm")
@pytest.mark.parametrize("name", NAMES)
def test_updates_do_not_wait_for_the_device(name, monkeypatch):
    problem = problem_of(Probe(), (16, 16))
    tuner = made("optimizer", name)(problem, generator(0))
    waits, step = Waits(), torch.optim.AdamW.step

    def counted(optimizer, *args, **kwargs):
        [group] = optimizer.param_groups
        if {id(w) for w in group["params"]} == {id(w) for w in tuner.policy.trainable().values()}:
            waits.between.append(waits.now.total())
        waits.now.clear()
        out = step(optimizer, *args, **kwargs)
        waits.now.clear()  # on the host AdamW reads its own counter
        return out

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)
    x = problem.prior.decode(problem.prior.sample(16, generator(1)))
    with waits:
        for _ in range(2):
            tuner.rng.manual_seed(0)
            tuner.tell(x, Probe().evaluate(x).double())
            x = tuner.ask(16)
    assert len(waits.between) > 3
    waiting = [n for n in waits.between if n]
    assert len(waiting) <= max(4, len(waits.between) // 10), waits.between
