# %% [markdown]
# # Three optimizers on one task
#
# A comparison without the command line: runs, their curves, and a loop of one's own. The task is Hartmann's function
# of six numbers, with a prior over them.

# %%
import matplotlib.pyplot as plt
import torch

from bbo_bench import evaluate, load_optimizer, load_results, load_task, run

NAMES = ("prior_sampling", "genetic", "cma_es")
for name in NAMES:
    for seed in (0, 1, 2):
        run(
            "hartmann_6",
            name,
            folder=f"results/notebook/hartmann_6/{name}/seed_{seed}",
            budget=[32, 64, 128],
            evaluation=64,
            seed=seed,
        )

# %% [markdown]
# Every run is a folder; one that is complete is only read, so this cell can be run again. All runs in one table:

# %%
frame = load_results("results/notebook")
last = frame[frame["round"] == 2]
print(last.groupby("optimizer")[["score", "reward_mean", "validity", "vendi", "elbo_z"]].mean().round(2))

# %% [markdown]
# `score` counts good designs that are really different; the mean score alone would not tell one good design from
# sixty-four.

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axes, metric in zip(panels, ("distinct_top", "reward_mean"), strict=True):
    for name, group in frame.groupby("optimizer"):
        curve = group.groupby("queries")[metric]
        [line] = axes.plot(curve.mean(), label=name)
        axes.fill_between(curve.mean().index, curve.min(), curve.max(), color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xlabel="queries", ylabel={"distinct_top": "distinct top", "reward_mean": "mean score"}[metric])
panels[0].legend()
figure.savefig("comparison.png", dpi=150)

# %% [markdown]
# ## A loop of one's own
#
# Optimizers can be asked and told from any loop. Here one is told no score of the right half of the box.

# %%
task = load_task("hartmann_6")
optimizer = load_optimizer("genetic", task, budget=[32] * 4)
x = task.reference()[:32]
for _ in range(4):
    y = task.evaluate(x)
    optimizer.tell(x, torch.where(x[:, 0] < 0.5, y, y.min()))
    x = optimizer.ask(32)
print(evaluate(task, optimizer.recommend(64))[["score", "reward_mean", "validity"]].round(2))
