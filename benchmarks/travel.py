"""Does one strength travel? Regret of one KL budget, or KL weight, for all tasks against each task's own.

    python benchmarks/travel.py results/budgets
    python benchmarks/travel.py results/weights
    python benchmarks/travel.py results/budgets results/weights

Reads runs of several tasks that differ in their `kl_budget` or `kl_weight`. For every method, a task's regret of a
strength is the best mean score over the task's own strengths less the mean score of that strength; that of the least
mean regret over tasks is the one for all. By the rule `per number` it is in proportion to the numbers of a latent (and
given at their geometric mean). Between strengths that were run, scores are interpolated over logarithms. Where the
prior's runs are there too, it says what there was to lose: what is gained over the prior. Of two folders, it compares
the strengths of each on the pairs of method and task that both have, also against what is best in either.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from bbo_bench import load_results
from bbo_bench.names import PRIOR
from bbo_bench.report.aggregate import at_the_end
from bbo_bench.report.families import STRENGTHS
from bbo_bench.testing.probe import made


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--metric", default="score")
    arguments = parser.parse_args()
    if len(arguments.folders) > 1:
        parts = {
            str(folder): mean_scores(at_the_end(load_results(folder)), arguments.metric) for folder in arguments.folders
        }
        print(compared(parts).to_string(index=False, float_format="{:.3f}".format))
        return
    last = at_the_end(load_results(*arguments.folders))
    scores = mean_scores(last, arguments.metric)
    sizes = {task: float(np.prod(made("task", task).prior().latent_shape)) for task in scores["task"].unique()}
    rules: dict[str, Callable[[str], float]] = {"one": lambda task: 1.0, "per number": sizes.__getitem__}
    rows = [
        {"method": method, "rule": rule} | best(table(part), scale)
        for method, part in [*scores.groupby("method"), ("all methods", pooled(scores))]
        if table(part).shape[1] > 1
        for rule, scale in rules.items()
    ]
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))
    whole = table(pooled(scores))
    print(f"\n{whole.to_string(float_format='{:.3f}'.format)}")
    prior = last[last["method"] == PRIOR].groupby("task")[arguments.metric].mean()
    above = whole.sub(prior.reindex(whole.index.get_level_values("task")).to_numpy(), axis=0).dropna()
    if len(above):
        lost = ", ".join(f"{strength:g}: {count}" for strength, count in (above <= 0).sum().items())
        print(f"\nOver the prior a pair's own best gains {above.max(axis=1).mean():.3f} on average.")
        print(f"Pairs, of {len(above)}, in which one gains nothing: {lost}")


def mean_scores(last: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row per method, task and strength: the mean of a metric over seeds, given the runs' last rounds."""
    columns = [f"optimizer.{key}" for key in STRENGTHS if f"optimizer.{key}" in last]
    strength = last[columns].apply(pd.to_numeric, errors="coerce").bfill(axis=1).iloc[:, 0]
    kept = last.assign(strength=strength, value=last[metric]).dropna(subset=["strength"])
    methods = kept.groupby("strength")["method"].transform("nunique")
    kept = kept[2 * methods > kept["method"].nunique()]  # best-of-N has budgets of its own
    return kept.groupby(["method", "task", "strength"], as_index=False)["value"].mean()


def pooled(scores: pd.DataFrame) -> pd.DataFrame:
    """Every method's scores of a task as a task of its own, so that one strength serves all methods."""
    return scores.assign(task=scores["task"], key=scores["method"] + " " + scores["task"])


def table(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores by task (and method), a column per strength; only those that have all strengths."""
    key = "key" if "key" in scores else "task"
    found = scores.pivot(index=[key, "task"] if key != "task" else "task", columns="strength", values="value")
    return found.dropna()


def compared(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One strength for all methods and tasks that all parts have: regret against a part's best, and the best of all."""
    tables = {name: table(pooled(scores)) for name, scores in parts.items()}
    pairs = sorted(set.intersection(*(set(each.index) for each in tables.values())))
    tables = {name: each.loc[pairs] for name, each in tables.items()}
    top = np.max([each.max(axis=1) for each in tables.values()], axis=0)
    rows = []
    for name, each in tables.items():
        strength = (each.max(axis=1).to_numpy()[:, None] - each).mean().idxmin()
        own, any_ = (best - each[strength] for best in (each.max(axis=1), top))
        rows.append(
            {"runs": name, "pairs": len(pairs), "strength": strength, "regret": own.mean(), "worst": own.max()}
            | {"regret to the best of all": any_.mean(), "its worst": any_.max()}
        )
    return pd.DataFrame(rows)


def best(found: pd.DataFrame, scale: Callable[[str], float]) -> dict[str, float]:
    """The strength of the least mean regret under a rule, and that regret over tasks: mean, worst."""
    strengths = found.columns.to_numpy(float)
    tasks = found.index.get_level_values("task")
    scales = np.array([scale(task) for task in tasks])
    scales = scales / np.exp(np.log(scales).mean())
    values = found.to_numpy(float)
    grid = np.exp(np.linspace(np.log(strengths[0]), np.log(strengths[-1]), 61))
    at = np.array(
        [
            [np.interp(np.log(each * size), np.log(strengths), row) for each in grid]
            for size, row in zip(scales, values, strict=True)
        ]
    )
    regret = values.max(1, keepdims=True) - at
    place = int(regret.mean(0).argmin())
    return {
        "strength": float(grid[place]),
        "regret": float(regret[:, place].mean()),
        "worst": float(regret[:, place].max()),
    }


if __name__ == "__main__":
    main()
