"""The page of a report: figures, tables, and what made them."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping

import pandas as pd

from bbo_bench.plan import shown
from bbo_bench.plugins import choices
from bbo_bench.report.aggregate import ENOUGH
from bbo_bench.report.runs import Run, Runs, flat

Pictures = dict[str, str | None]
"""Figures by the stem of their files; where one could not be made, the reason."""

CAPTIONS = {
    "overview": "Interquartile mean and 95% interval at the end of the budget, highest hypervolume first; colours are "
    "groups of methods, lines the data's value (dashed) and the prior's (dotted). Of optimizers that differ in their "
    "KL weight alone, one is shown.",
    "curves": "Interquartile mean over seeds and its 95% interval after every round. Of optimizers that differ in "
    "their KL weight alone, one is drawn. Where optimizers are many, each group of methods has a row.",
    "trade_off": "At the end of the budget; bars are 95% intervals.",
    "gallery": "Designs of one seed at the end of the budget, at even quantiles of the true score, which they are "
    "titled with. Where optimizers are many: the one of highest hypervolume in each group.",
    "sweep": "At the end of the budget, over the values of the one setting in which an optimizer's runs differ, evenly "
    "spaced; bands are 95% intervals.",
    "profiles": "Share of runs that end above a score, over all scores: of two optimizers the higher line is better "
    "there. Bands are 95% intervals of a bootstrap over tasks and seeds, from five tasks on.",
    "ranks": "Mean ranks over tasks, 1 the best. Friedman's test asks whether all optimizers are alike; bars join "
    "those whose ranks are within Nemenyi's critical difference, and so are not told apart at 5%.",
    "improvement": "Probability that a run of the row's optimizer ends above one of the column's, mean over tasks.",
    "runtimes": "Share of runs and targets that have been reached, over queries: targets lie at tenths of the way from "
    "the prior's mean score to the best known. Also as expected runtimes (queries spent over successes): "
    "[runtimes.csv](runtimes.csv).",
    "over_tasks": "Bars: how well these tasks' mean is known. Normalized mean score: "
    "0 is the prior's, 1 that of the best known design.",
}


def markdown(runs: Runs, command: str, text: str, pictures: Mapping[str, str | None], caution: str) -> str:
    """The page, which names the command behind every table and figure."""
    parts = [
        "# Report",
        f"Every table and figure here was made by `{command}` from the folders of these runs, made by",
        "```\n" + "\n".join(commands(runs.complete)) + "\n```",
        f"Runs: {len(runs.complete)} complete, {len(runs.left_out)} left out. Values are interquartile means over "
        f"seeds with 95% intervals of a trimmed t from {ENOUGH} seeds on, on true scores. `data` are real "
        "designs that the prior never saw. `hypervolume`, which tuning maximizes, is the normalized score (at least 0) "
        "times validity times the pairwise distance over that of the data (at most 1), of each seed. "
        f"{caution}".rstrip(),
        "## Figures",
        *(_picture(name, reason, command) for name, reason in pictures.items()),
        "## Tables",
        "Also in [results.csv](results.csv), [results.tex](results.tex) (LaTeX, booktabs and longtable) and "
        "[cost.csv](cost.csv), which have every KL weight. "
        f"Seconds are means over seeds; the harness is what ask, oracle, tell and evaluation leave of the total. "
        f"Made by `{command}`.",
        f"```\n{text}```",
        "## Made on",
        "\n".join(f"- {line}" for line in provenance(runs.complete)),
    ]
    return "\n\n".join(parts) + "\n"


def caution(results: pd.DataFrame) -> str:
    """What to know of the intervals where seeds are few, or nothing."""
    if not (results["seeds"] < ENOUGH).any():
        return ""
    return (
        f"Some rows have fewer than {ENOUGH} seeds, too few for an interval: the values of their seeds are shown "
        "instead, in braces in tables and as points in figures."
    )


def left_out(runs: Runs) -> str:
    """A line for every run that the report leaves out, with the reason."""
    lines = [f"left out: {shown(folder)}: {reason}" for folder, reason in runs.left_out.items()]
    return "\n".join(lines)


def commands(runs: Iterable[Run]) -> list[str]:
    """A sweep for each experiment, budget and change of defaults that makes its runs."""
    sweeps: dict[tuple[str, str], list[Run]] = defaultdict(list)
    defaults = {name: flat(choice.settings) for name, choice in choices("optimizer").items()}
    for run in runs:
        settings = flat(run.settings)
        usual = defaults.get(run.config["optimizer"]["name"], settings)
        words = [f"budget.{key}={value}".replace(" ", "") for key, value in run.config["budget"].items()]
        changed = settings.items() - usual.items()
        words += [f"{'' if key in usual else '+'}optimizer.{key}={value}" for key, value in changed]
        sweeps[run.experiment, shlex.join(sorted(words))].append(run)
    return [_sweep(experiment, words, each) for (experiment, words), each in sweeps.items()]


def provenance(runs: Iterable[Run]) -> list[str]:
    """What the runs were made on; several values where they differ."""
    facts: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        scalars = {key: run.provenance.get(key) for key in ("commit", "platform", "device_name", "device", "threads")}
        for key, value in (scalars | run.provenance.get("versions", {})).items():
            facts[key].add(str(value))
    return [f"{key}: {', '.join(sorted(values))}" for key, values in facts.items()]


def _sweep(experiment: str, words: str, runs: Iterable[Run]) -> str:
    chosen: dict[str, dict[str, None]] = defaultdict(dict)
    for run in runs:
        for key, value in (("task", run.config["task"]["name"]), ("optimizer", run.config["optimizer"]["name"])):
            chosen[key][value] = None
        chosen["seed"][str(run.seed)] = None
    groups = " ".join(f"{key}={','.join(values)}" for key, values in chosen.items())
    return f"bbo-bench run -m name={shlex.quote(experiment)} {groups} {words}"


def _picture(name: str, reason: str | None, command: str) -> str:
    caption = next(words for kind, words in CAPTIONS.items() if name.endswith(kind))
    if reason:
        return f"`{name}` is missing: {reason}."
    return f"![{name}]({name}.png)\n\n{caption} Made by `{command}`; also as [PDF]({name}.pdf)."
