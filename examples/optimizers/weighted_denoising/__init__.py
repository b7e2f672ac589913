"""Weighted denoising: the policy learns to make its better samples again, and is held to the prior."""

import torch

from bbo_bench.alignment.finetune import FineTuner


class WeightedDenoising(FineTuner):
    def __init__(self, problem, rng, *, iterations, samples, updates, temperature, **shared):
        super().__init__(problem, rng, **shared)
        self.iterations, self.samples, self.updates, self.temperature = iterations, samples, updates, temperature

    def losses(self):
        for _ in range(self.iterations):
            z, reward = self.scored(self.samples)
            weight = len(z) * (reward / self.temperature).softmax(0)
            for _ in range(self.updates):
                yield self.loss(z, weight)

    def loss(self, z, weight):
        k = torch.randint(self.transition.steps, (len(z),), generator=self.rng, device=z.device)
        x, t = self.transition.noise(k, z, self.prior.noise(len(z), self.rng)), self.transition.timesteps[k]
        output = self.policy(x, t)
        error = (output - self.transition.target(k, x, z)).flatten(1).square().sum(1)
        drift = (output - self.reference(x, t)).flatten(1).square().sum(1)
        return (weight * (error + self.kl_weight / self.temperature * drift)).mean()
