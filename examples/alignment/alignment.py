# %% [markdown]
# # Alignment in two dimensions
#
# A diffusion model makes points; three rewards say which points are good. What does alignment do to the paths by which
# noise becomes a point, and what does the distance from the prior buy? After figure 2 of *Maximize Your Diffusion*
# (Huh and Mohapatra 2025).

# %%
import math

import matplotlib.pyplot as plt
import torch

from bbo_bench import load_optimizer
from bbo_bench.core import Task
from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.train import fit
from bbo_bench.domains import Box
from bbo_bench.seeding import generator, seeded

# %% [markdown]
# The data lie in eight places on a circle. A minute of training makes a prior of them.


# %%
def clusters(n, rng):
    angle = torch.randint(8, (n,), generator=rng) * math.pi / 4
    return 2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.18 * torch.randn(n, 2, generator=rng)


data = clusters(8192, generator(0))
box = Box(torch.full((2,), -4.0), torch.full((2,), 4.0))
with seeded(generator(0)):
    network = MLP(2, width=96, depth=2)
schedule = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
prior = DiffusionPrior(network, Standardize(box, data), schedule, {"steps": 25, "min_std": 0.02})
network.requires_grad_(True)
fit(network, prior.scheduler, prior.encode(data), generator(1), steps=6000, batch_size=256, learning_rate=2e-3)
network.requires_grad_(False)

# %% [markdown]
# Three rewards: to be far on the right; to be near one of two opposite places, however far they are from each other; to
# be near a point where there are no data at all.

# %%
REWARDS = {
    "to the right": lambda x: x[:, 0],
    "left or right": lambda x: -torch.minimum((x[:, 0] - 2) ** 2, (x[:, 0] + 2) ** 2) - 2 * x[:, 1] ** 2,
    "to the middle": lambda x: -x.square().sum(1),
}


class Points(Task):
    domain, noise_std, y_prior, best_known, infeasible_score = box, 0.0, 0.0, 1.0, -100.0

    def __init__(self, reward):
        self.evaluate = reward

    def prior(self):
        return prior

    def evaluate(self, x): ...

    def valid(self, x):
        return torch.ones(len(x), dtype=torch.bool)

    def features(self, x):
        return x

    def reference(self):
        return clusters(512, generator(2))

    def render(self, x, axes):
        axes.plot(*x, ".")


# %% [markdown]
# DDPO fine-tunes the prior towards a proxy of each reward, learnt from 512 scores: once with a budget of 2 nats, which
# is as far from the prior as the best of nineteen samples is, and once with 40.


# %%
def aligned(reward, nats):
    optimizer = load_optimizer("ddpo", Points(reward), budget=[512], kl_budget=nats, iterations=40)
    x = prior.decode(prior.sample(512, generator(3)))
    optimizer.tell(x, reward(x).double())
    return optimizer.paths(400).states


with torch.no_grad():
    noise = prior.noise(400, generator(4))
    before = torch.stack([noise, *prior.transition.walk(prior.denoiser, noise, generator(5))], 1)
paths = {name: [before, aligned(reward, 2.0), aligned(reward, 40.0)] for name, reward in REWARDS.items()}

# %% [markdown]
# Paths from noise (pale) to points (dark), over the reward (the brighter, the better).

# %%
side = torch.linspace(-3.4, 3.4, 120)
grid = torch.cartesian_prod(side, side)
figure, panels = plt.subplots(3, 3, figsize=(9, 9.3), sharex=True, sharey=True, layout="constrained")
for axes, title in zip(panels[0], ("the prior", "2 nats from it", "40 nats from it"), strict=True):
    axes.text(0, 4.1, title, ha="center", weight="bold")
for row, (name, columns) in zip(panels, paths.items(), strict=True):
    for axes, states in zip(row, columns, strict=True):
        height = REWARDS[name](grid).reshape(120, 120).T
        axes.imshow(height, extent=(-3.4, 3.4) * 2, origin="lower", cmap="YlGn_r", alpha=0.45, interpolation="bilinear")
        x = prior.decode(states.flatten(0, 1)).reshape(states.shape)
        for path in x[:40]:
            axes.plot(*path.T, color="tab:blue", linewidth=0.5, alpha=0.35)
        axes.plot(*x[:, -1].T, ".", color="black", markersize=2.5)
        axes.set_title(f"mean reward {float(REWARDS[name](x[:, -1]).mean()):.2f}", fontsize="medium")
        axes.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4), xticks=[], yticks=[], aspect="equal")
    row[0].set_ylabel(name)
figure.savefig("alignment.png", dpi=75)
