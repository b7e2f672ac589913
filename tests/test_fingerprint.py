import numpy as np
import pytest
import torch

from bbo_bench import load_task
from bbo_bench.fingerprint import fingerprint


class Holder:
    def __init__(self, **parts):
        self.__dict__ |= parts


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64]
)
def test_a_number_that_moves_is_seen_wherever_it_is_held(dtype):
    tensor, array = torch.ones(3, dtype=dtype), np.ones(3, np.longdouble)
    root = Holder(a=[{"b": (tensor, torch.empty(0))}], net=torch.nn.Linear(2, 2), array=array, word="x")
    root.itself = root
    before = fingerprint(root)
    assert fingerprint(root) == before
    tensor[1] = 0
    changed = fingerprint(root)
    array[0] = 2
    assert len({tuple(before), tuple(changed), tuple(fingerprint(root))}) == 3


def test_a_problem_keeps_its_fingerprint_while_it_is_used():
    problem = load_task("tfbind8").problem((8,), torch.device("cpu"))
    before, rng = fingerprint(problem), torch.Generator().manual_seed(0)
    z = problem.prior.sample(4, rng)
    problem.prior.elbo(problem.prior.encode(problem.prior.decode(z)))
    assert fingerprint(problem) == before
    next(problem.prior.denoiser.parameters()).data.mul_(0.9)
    assert fingerprint(problem) != before
