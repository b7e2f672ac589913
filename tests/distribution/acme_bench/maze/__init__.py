"""Fresh samples of the prior, a little moved."""

import torch

from bbo_bench.core import Optimizer


class Maze(Optimizer):
    def __init__(self, problem, rng, *, stride=0.1):
        super().__init__(problem, rng)
        self.stride = stride

    def ask(self, n):
        x = self.problem.prior.decode(self.problem.prior.sample(n, self.rng))
        return self.problem.domain.clamp(x + self.stride * torch.ones_like(x))

    def tell(self, x, y):
        pass

    recommend = ask

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
