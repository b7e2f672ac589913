"""What metrics are called in tables and figures, and how they are grouped."""

from __future__ import annotations

from collections.abc import Iterable

GROUPS: dict[str, dict[str, str]] = {
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
    },
    "Recommended designs: diversity": {
        "pairwise": "pairwise",
        "vendi": "Vendi / m",
        "recall": "recall",
        "unique": "unique",
    },
    "Recommended designs: over-optimization": {
        "proxy_gap": "proxy gap",
        "validated_mean": "validated",
        "validated_reward": "their score",
        "validated_share": "share validated",
    },
}
"""Groups of metrics; each metric's key with its heading."""

METRICS = [key for group in GROUPS.values() for key in group]

DERIVED = {"natural_diversity": "validity × diversity", "hypervolume": "hypervolume"}
"""Metrics that the report computes from the others."""
TABLES = {"Recommended designs: trade-off": DERIVED, **GROUPS}

AXES = {
    "reward_mean": "mean score, recommended",
    "best": "best score, queried",
    "validity": "validity",
    "elbo_z": "ELBO z-score",
    "pairwise": "mean pairwise distance",
    "proxy_gap": "proxy gap",
    "normalized": "normalized mean score",
    "natural_diversity": "validity × diversity",
    "hypervolume": "hypervolume",
}
"""Metrics that figures show, with their axes' labels."""

PRIOR = "prior_sampling"
"""The optimizer that marks the prior."""
DATA = "data"
"""What the task's reference designs are called."""


OWN = "Recommended designs: the task's own"
"""The group of metrics that only some tasks have."""


def own(columns: Iterable[str]) -> list[str]:
    """The metrics of tasks' own among the columns of a table of runs; diagnostics are the optimizers'."""
    known = {"task", "optimizer", "seed", "round", "queries", *METRICS, *DERIVED}
    others = (name for name in columns if name not in known and not name.startswith("diagnostics."))
    return [name for name in others if not name.endswith(reference(""))]


def reference(metric: str) -> str:
    """The column that holds a metric's value for the reference designs."""
    return f"{metric}_reference"


def headline(columns: Iterable[str]) -> str:
    """The metric that heads a report: `score`, or the normalized mean score of runs from before there was one."""
    return "score" if "score" in columns else "normalized"
