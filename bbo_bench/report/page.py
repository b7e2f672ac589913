"""The page of a report: figures, tables, and what made them."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import pandas as pd

from bbo_bench.plan import shown
from bbo_bench.plugins import choices
from bbo_bench.report.aggregate import ENOUGH, RESAMPLES
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
    "over_tasks": "Normalized mean score: 0 is the prior's, 1 that of the best known design.",
}


def markdown(runs: Runs, command: str, text: str, pictures: Mapping[str, str | None], caution: str) -> str:
    """The page, which names the command behind every table and figure."""
    parts = [
        "# Report",
        f"Every table and figure here was made by `{command}` from the folders of these runs, made by",
        "```\n" + "\n".join(commands(runs.complete)) + "\n```",
        f"Runs: {len(runs.complete)} complete, {len(runs.left_out)} left out. Values are interquartile means over "
        f"seeds with 95% intervals of a stratified bootstrap ({RESAMPLES} resamples), on true scores. `data` are real "
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
        *filter(None, [processors(runs.complete)]),
    ]
    return "\n\n".join(parts) + "\n"


def caution(results: pd.DataFrame) -> str:
    """What to know of the intervals where seeds are few, or nothing."""
    if not (results["seeds"] < ENOUGH).any():
        return ""
    return (
        f"Some rows have fewer than {ENOUGH} seeds: on one task their 95% interval is just the lowest and the highest "
        "seed's value, which holds the truth less often than 95%, and a single seed has none."
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
        scalars = {
            key: run.provenance.get(key)
            for key in ("commit", "platform", "device_name", "device", "processor", "threads")
        }
        for key, value in (scalars | run.provenance.get("versions", {})).items():
            facts[key].add(str(value))
    return [f"{key}: {', '.join(sorted(values))}" for key, values in facts.items()]


def processors(runs: Iterable[Run]) -> str:
    """A sentence where runs of several processors or instruction sets are pooled, or nothing."""
    counts: Counter[str] = Counter()
    for run in runs:
        instructions = run.provenance.get("arithmetic", {}).get("torch", "unknown instructions")
        counts[f"{run.provenance.get('processor', 'unknown')}, {instructions}"] += 1
    if len(counts) < 2:
        return ""
    listed = "; ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
    return f"**Runs of several processors are pooled** ({listed}): one command and seed gives other numbers on each."


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
