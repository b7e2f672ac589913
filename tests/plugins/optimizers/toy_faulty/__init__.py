"""Designs at random, until `tell` does what `fault` says."""

import gc
import itertools
import os
import signal
import sys
import time

import numpy as np
import torch

from bbo_bench.core import Optimizer, Task
from bbo_bench.evaluation import Evaluator
from bbo_bench.oracle import Oracle
from bbo_bench.record import Record

SECRETS = (Task, Oracle, Evaluator, Record)


class ToyFaulty(Optimizer):
    def __init__(self, problem, rng, *, fault="none"):
        super().__init__(problem, rng)
        self.fault, self.found = fault, 0

    def ask(self, n):
        x = self.problem.domain.sample(n, self.rng)
        return x.T.contiguous().T if self.fault == "strided" else x

    def tell(self, x, y):
        if self.fault == "mutate":
            self.problem.domain.lower.add_(0.1)
        elif self.fault not in ("none", "strided"):
            self.found = FAULTS[self.fault]() or 0

    recommend = ask

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass

    def diagnostics(self):
        return {"found": float(self.found)}


def leave_changed():
    """All that a process has one of."""
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(3)
    torch.manual_seed(1)
    np.random.seed(1)
    np.seterr(all="raise")
    os.chdir("/")
    os.environ["BBO_BENCH_PLUGINS"] = "/nowhere"


def search():
    """All that is in reach of a process, of frames, closures and containers too, and tells more than noisy scores."""
    frame, frames = sys._getframe(), []
    while frame:
        frames += frame.f_locals.values()
        frame = frame.f_back
    return sum(issubclass(type(each), SECRETS) for each in [*frames, *gc.get_objects()])


def interrupt():
    raise KeyboardInterrupt


FAULTS = {
    "exit": lambda: sys.exit(3),
    "interrupt": interrupt,
    "raise": lambda: 1 / 0,
    "leave": lambda: os._exit(3),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "sleep": lambda: time.sleep(600),
    "hang": lambda: sum(itertools.count()),  # native code that does not come back, and keeps Python's lock
    "settings": leave_changed,
    "search": search,
}
