# %% [markdown]
# # Stronger concrete, from a table
#
# 1,030 samples of concrete have been mixed, and crushed to measure their strength. Of those that were crushed after
# 28 days, we take the weaker ones, below 50 MPa, make a task of them, and ask an optimizer for stronger mixes, in
# three rounds of sixteen. A laboratory would mix and crush these; here a smooth interpolation of all measurements
# after 28 days answers in its place, the only thing in this notebook that is made up.

# %%
import os
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from scipy.interpolate import RBFInterpolator

HERE = Path(__file__).parent if "__file__" in globals() else Path.cwd()
table = pd.read_csv(HERE / "concrete.csv").query("age == 28").drop(columns="age")
*ingredients, strength = table.columns
table = table.groupby(ingredients, as_index=False).mean()
table.query("compressive_strength < 50").to_csv("weaker.csv", index=False)

scale = table[ingredients].std().to_numpy()
laboratory = RBFInterpolator(table[ingredients].to_numpy() / scale, table[strength], kernel="linear", smoothing=0.1)

# %% [markdown]
# ## A task from the table
#
# `new task` takes the column that is measured off the table; the others are the design. `prior train` teaches a
# small diffusion model what mixes look like: which amounts go with which.

# %%
os.environ["BBO_BENCH_PLUGINS"] = str(Path("plugins").resolve())
for command in [
    f"bbo-bench new task concrete --data weaker.csv --objective {strength}",
    "bbo-bench prior train task=concrete",
]:
    subprocess.run(command.split(), check=True)

# %% [markdown]
# ## A campaign
#
# `ask` gives mixes, `tell` takes what came of them. In between the notebook could be closed for a month.

# %%
from bbo_bench import Campaign  # noqa: E402, as the plugin is there only now

rounds = []
for name in ("sqdf", "turbo"):
    campaign = Campaign("concrete", name, f"campaigns/{name}", rounds=[16] * 3)
    while not campaign.complete:
        asked = campaign.ask()
        measured = laboratory(asked.x.double().numpy() / scale)
        verdict = campaign.tell(asked.ids, measured)
        print(name, f"round {verdict.round}: best {verdict.metrics['best']:.1f} MPa", *verdict.alarms)
        rounds += [{"optimizer": name, "round": verdict.round, "strength": each} for each in measured]
found = pd.DataFrame(rounds)
print(found.groupby(["optimizer", "round"])["strength"].describe().round(1))

# %% [markdown]
# ## What came of it
#
# Grey are the mixes that the prior learnt from. The alarms above, if there are any, say where an optimizer has left
# them.

# %%
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.hist(pd.read_csv("weaker.csv")[strength], bins=30, density=True, color="0.8", label="known mixes")
for name, group in found[found["round"] == 2].groupby("optimizer"):
    axes.plot(group["strength"], [-0.002] * len(group), "|", markersize=14, label=f"{name}, last round")
axes.set(xlabel="compressive strength after 28 days (MPa)", ylabel="share of mixes per MPa")
axes.legend()
figure.savefig("concrete.png", dpi=150)
