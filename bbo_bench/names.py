"""What metrics are called in tables and figures, and how they are grouped."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from math import inf


def _by_choice(metric: str) -> dict[str, str]:
    """A metric of episodes, for each choice of what is executed; see `Control`."""
    words = {"one": "one plan", "mean": "mean of plans", "greedy": "greedy", "softmax": "softmax"}
    return {f"{metric}_{choice}": heading for choice, heading in words.items()}


GROUPS: dict[str, dict[str, str]] = {
    "Recommended designs: distinct and good": {"score": "score", "distinct_top": "distinct top"},
    "Queried designs": {"best": "best", "top10": "top 10", "auc_top10": "AUC top 10"},
    "Recommended designs: score": {
        "reward_mean": "mean",
        "reward_q90": "90% quantile",
        "reward_max": "max",
        "normalized": "normalized",
    },
    "Recommended designs: naturalness": {
        "validity": "validity",
        "elbo_z": "ELBO z",
        "frechet": "Fréchet ratio",
        "precision": "precision",
        "density": "density",
    },
    "Recommended designs: diversity": {
        "pairwise": "pairwise",
        "vendi": "Vendi",
        "recall": "recall",
        "coverage": "coverage",
        "unique": "unique",
    },
    "Recommended designs: over-optimization": {
        "proxy_gap": "proxy gap",
        "validated_mean": "validated",
        "validated_reward": "their score",
        "validated_share": "share validated",
    },
    "Episodes in a closed loop: return": _by_choice("return"),
    "Episodes in a closed loop: deviation of returns over starts, and entropy of plans": {
        **_by_choice("return_std"),
        "entropy": "entropy, nats",
    },
    "Episodes in a closed loop: success": _by_choice("success"),
    "Episodes in a closed loop: share of the optimum": _by_choice("of_optimum"),
}
"""Groups of metrics; each metric's key with its heading."""

METRICS = [key for group in GROUPS.values() for key in group]

HITS = {f"hits_{q:.1f}": q for q in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)}
"""Numbers of distinct valid designs, for a figure, with the least q of each."""

AXES = {
    "score": "score",
    "distinct_top": "distinct top",
    "reward_mean": "mean score, recommended",
    "best": "best score, queried",
    "validity": "validity",
    "elbo_z": "ELBO z-score",
    "pairwise": "mean pairwise distance",
    "proxy_gap": "proxy gap",
    "normalized": "normalized mean score",
    "return_one": "return, one plan",
    "return_std_one": "deviation of returns over starts, one plan",
    "return_mean": "return, mean of plans",
    "return_greedy": "return, plan of highest value",
    "success_one": "success, one plan",
    "success_greedy": "success, plan of highest value",
    "entropy": "entropy of plans, nats",
}
"""Metrics that figures show, with their axes' labels."""

SHARES = (
    *("score", "distinct_top", "validity", "precision", "recall", "coverage", "unique", "validated_share"),
    *_by_choice("success"),
)
"""Metrics from 0 to 1."""
POSITIVE = ("frechet", "density", "pairwise", "vendi", *HITS)
"""Those from 0 up."""

KEYS = ("task", "optimizer", "method", "seed", "experiment", "folder", "round", "queries")
"""Columns of a table of runs that say what a row is of."""
SETTINGS = ("diagnostics.", "task.", "optimizer.", "budget.", "device", "threads", "reproducible")
"""Beginnings of the columns that are no metrics of designs."""

NATS = "diagnostics.kl"
"""How far a policy's trajectories are from the prior's."""

PRIOR = "prior_sampling"
"""The optimizer that marks the prior."""
DATA = "data"
"""What the task's reference designs are called."""
HELD_OUT = "_held_out"
"""What metrics of designs for prompts that are never asked for end in."""


LONGEST = 48
"""Letters of a name in a figure."""
OWN = "Recommended designs: the task's own"
"""The group of metrics that only some tasks have."""


def own(columns: Iterable[str]) -> list[str]:
    """The metrics of tasks' own among the columns of a table of runs; diagnostics are the optimizers'."""
    known = {*KEYS, *METRICS, *HITS}
    others = (name for name in columns if name not in known and not name.startswith(SETTINGS))
    return [name for name in others if not name.endswith(reference(""))]


def short(name: str) -> str:
    """A name that leaves room for what it names: tables have it whole."""
    return textwrap.shorten(name, LONGEST, placeholder=" …)" if "(" in name else " …")


def bounds(metric: str) -> tuple[float, float]:
    """The lowest and the highest value that a metric can have."""
    return (0.0 if metric in (*SHARES, *POSITIVE) else -inf), (1.0 if metric in SHARES else inf)


def reference(metric: str) -> str:
    """The column that holds a metric's value for the reference designs."""
    return f"{metric}_reference"


def headline(columns: Iterable[str]) -> str:
    """The metric that heads a report: `score`, or the normalized mean score of runs from before there was one."""
    return "score" if "score" in columns else "normalized"
