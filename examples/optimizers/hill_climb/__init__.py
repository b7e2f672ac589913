"""Hill climbing: Gaussian steps from the best design so far."""

import torch

from bbo_bench.core import Optimizer


class HillClimb(Optimizer):
    def __init__(self, problem, rng, *, step):
        super().__init__(problem, rng)
        self.step, self.best, self.score = step, problem.domain.sample(1, rng)[0], -float("inf")

    def ask(self, n):
        noise = torch.randn(n, *self.best.shape, generator=self.rng, device=self.rng.device)
        return self.problem.domain.clamp(self.best + self.step * noise)

    def tell(self, x, y):
        if y.max() > self.score:
            self.best, self.score = x[y.argmax()], float(y.max())

    def recommend(self, n):
        return self.ask(n)

    def state_dict(self):
        return {"best": self.best, "score": self.score}

    def load_state_dict(self, state):
        self.best, self.score = state["best"].to(self.rng.device), state["score"]
