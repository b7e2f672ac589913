"""The best design so far, and Gaussian steps around it."""

import torch

from bbo_bench.core import Optimizer


class ToySearch(Optimizer):
    def __init__(self, problem, rng, *, step=0.5):
        super().__init__(problem, rng)
        self.step = step
        self.best, self.score = torch.zeros(problem.domain.shape), -torch.inf

    def ask(self, n):
        noise = torch.randn(n, *self.best.shape, generator=self.rng)
        return self.problem.domain.clamp(self.best + self.step * noise)

    def tell(self, x, y):
        if y.max() > self.score:
            self.best, self.score = x[y.argmax()], float(y.max())

    recommend = ask

    def state_dict(self):
        return {"best": self.best, "score": self.score}

    def load_state_dict(self, state):
        self.best, self.score = state["best"], state["score"]
