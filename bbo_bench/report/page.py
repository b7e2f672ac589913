"""The page of a report: figures, tables, and what made them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from bbo_bench.names import NATS
from bbo_bench.plan import shown
from bbo_bench.plugins import KINDS
from bbo_bench.report.aggregate import ENOUGH
from bbo_bench.report.commands import commands
from bbo_bench.report.labels import flat, unnamed, usual
from bbo_bench.report.runs import Run, Runs

Pictures = dict[str, dict[str, str | None]]
"""By task, figures by the stem of their files; where one could not be made, the reason."""

BEYOND = 1.25
"""Share of a KL budget from which on a report says so."""

APPENDIX = "_all"
"""Ends the names of figures that show every optimizer: shown on demand, and too full for a paper."""

CAPTIONS = {
    "overview": "Interquartile mean and 95% interval (points: seeds, where they are few) at the end of the budget, the "
    "highest score first (the highest normalized mean score, where runs are older than the score); colours are groups "
    "of methods, lines the data's value (dashed) and the prior's (dotted). Of optimizers that differ in their KL "
    "weight alone, one is shown.",
    "hits": "How many of the recommended designs are valid, distinct from each other, and of a normalized score of at "
    "least q, over q; interquartile means over seeds. Named are the best by score, and the best of each group.",
    "curves": "Interquartile mean over seeds and its 95% interval after every round. Named are the best by score, and "
    "the best of each group.",
    "episodes": "What is played in a closed loop after every round, from starts that the environment draws: by one "
    "plan, by the mean of several, by the one of highest value. Interquartile mean over seeds and its 95% interval.",
    "trade_off": "Mean score against naturalness and diversity at the end of the budget; bars are 95% intervals. Named "
    "are the best by score, and the best of each group; numbers at points are KL weights or budgets.",
    "curves_all": "The same with all optimizers, a row for each group of methods.",
    "trade_off_all": "The same with all optimizers, a row for each group of methods. Lines join the KL weights, or "
    "budgets, of one optimizer; larger markers, larger ones.",
    "gallery": "Designs of one seed at the end of the budget, at even quantiles of the true score, which they are "
    "titled with. Where optimizers are many: the best of each group by score.",
    "sweep": "At the end of the budget, over the values of the one setting in which an optimizer's runs differ, evenly "
    "spaced; bands are 95% intervals.",
    "overoptimization": "Mean score of the recommended designs at the end of the budget over the policy's distance "
    "from the prior, the square root of the KL divergence of its trajectories in nats; a line per method goes through "
    "its KL weights or budgets. Dotted: what the proxy predicts of the same designs; horizontally: the prior's score. "
    "Stars: the peak of the law of Gao, Schulman and Hilton (2023), d (a − b log d) above the prior (of the best of N, "
    "d (a − b d)), where it lies within what was measured; crosses: fewer than half of the designs are valid. Also as "
    "`overoptimization.csv` and `overoptimization_peaks.csv`.",
    "profiles": "Share of runs that end above a score, over all scores: of two optimizers the higher line is better "
    "there. Bands are 95% intervals of a bootstrap over tasks and seeds, from five tasks on.",
    "ranks": "Mean ranks over tasks, 1 the best. Friedman's test asks whether all optimizers are alike; bars join "
    "those whose ranks are within Nemenyi's critical difference, and so are not told apart at 5%.",
    "improvement": "Probability that a run of the row's optimizer ends above one of the column's, mean over tasks.",
    "runtimes": "Share of runs and targets that have been reached, over queries: targets lie at tenths of the way from "
    "the prior's mean score to the best known. Also as expected runtimes (queries spent over successes): "
    "`runtimes.csv`.",
    "over_tasks": "Mean over tasks; bars: how well these tasks' mean is known.",
}


class About(NamedTuple):
    """What a page says of itself."""

    command: str
    commands: list[str]
    method: str
    cautions: list[str]
    left_out: str
    provenance: list[str]


def about(runs: Runs, results: pd.DataFrame, command: str) -> About:
    """What made the runs and the report, and what to know of them."""
    method = (
        f"Runs: {len(runs.complete)} complete, {len(runs.left_out)} left out. Values are interquartile means over "
        f"seeds with 95% intervals of a trimmed t from {ENOUGH} seeds on, on true scores. `data` are real "
        "designs that the prior never saw. An optimizer's or a task's name says in what its settings differ from those "
        "of its YAML."
    )
    made = provenance(runs.complete)
    said = [*filter(None, [caution(results)]), *cautions(runs.complete)]
    return About(command, commands(runs.complete), method, said, left_out(runs), made)


def cautions(runs: Sequence[Run]) -> list[str]:
    """What to know of runs that are put side by side and were not made alike."""
    return [*filter(None, [overspent(runs), pooled(runs), versions(runs), processors(runs), outdated(runs)])]


def markdown(about: About, text: str, pictures: Pictures) -> str:
    """The page, which names the command behind every table and figure."""
    drawn = [(name, reason) for each in pictures.values() for name, reason in each.items()]
    parts = [
        "# Report",
        f"Every table and figure here was made by `{about.command}` from the folders of these runs, made by",
        _block("\n".join(about.commands)),
        " ".join([about.method, *about.cautions]),
        "The same page to click through is `report.html`.",
        "## Figures",
        *(_picture(name, reason, about.command) for name, reason in drawn),
        "## Tables",
        "Also in [results.csv](results.csv), [results.tex](results.tex) (LaTeX, booktabs and longtable), "
        "[columns.tex](columns.tex) (for a page of two columns) and "
        "[cost.csv](cost.csv), which have every KL weight and budget. "
        f"Seconds are means over seeds; the harness is what ask, oracle, tell and evaluation leave of the total. "
        f"Made by `{about.command}`.",
        _block(text.rstrip("\n")),
        "## Made on",
        "\n".join(f"- {line}" for line in about.provenance),
    ]
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    """A block of code, whose fence is longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def caption(name: str) -> str:
    """What the figure in the files of that stem shows."""
    return next(words for kind, words in CAPTIONS.items() if name.endswith(kind))


def caution(results: pd.DataFrame) -> str:
    """What to know of the intervals where seeds are few, or nothing."""
    if not (results["seeds"] < ENOUGH).any():
        return ""
    return (
        f"Some rows have fewer than {ENOUGH} seeds, too few for an interval: the values of their seeds are shown "
        "instead, in braces in tables and as points in figures."
    )


def pooled(runs: Iterable[Run]) -> str:
    """Which settings of the machine differ between the runs of one task, or nothing."""
    found = _differing(runs, lambda run: run.shared)
    return f"Runs of one task differ in {_several(found)}, which may change their numbers." if found else ""


def versions(runs: Iterable[Run]) -> str:
    """Which packages differ between the runs of one task, or nothing."""
    found = _differing(runs, lambda run: run.provenance.get("versions", {}))
    return f"Runs of one task were made by several versions of {_several(found)}." if found else ""


def overspent(runs: Iterable[Run]) -> str:
    """Which optimizers end well beyond their KL budget, in the mean over seeds, or nothing."""
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        if (budget := run.settings.get("kl_budget")) and NATS in run.metrics:
            shares[run.task, run.optimizer].append(float(run.metrics[NATS].iloc[-1]) / budget)
    beyond = {key: mean for key, each in shares.items() if (mean := sum(each) / len(each)) > BEYOND}
    tasks = {task for task, _ in beyond}
    said = [
        f"{name}{f' on {task}' if len(tasks) > 1 else ''} ({mean:.2g} times)"
        for (task, name), mean in sorted(beyond.items(), key=lambda each: -each[1])
    ]
    return f"Beyond their KL budget, which is not how far they went: {', '.join(said)}." if said else ""


def _differing(runs: Iterable[Run], facts: Callable[[Run], Mapping[str, object]]) -> dict[str, set[str]]:
    """The values of each fact that differs between runs of one task."""
    tasks: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for run in runs:
        tasks[run.task].append(facts(run))
    found: dict[str, set[str]] = defaultdict(set)
    for each in tasks.values():
        for key in dict.fromkeys(key for known in each for key in known):
            values = {str(known.get(key, "not recorded")) for known in each}
            found[key] |= values if len(values) > 1 else set()
    return {key: values for key, values in found.items() if values}


def _several(found: Mapping[str, set[str]]) -> str:
    return " and ".join(f"`{key}` ({', '.join(sorted(values))})" for key, values in found.items())


def outdated(runs: Iterable[Run]) -> str:
    """Which plugins had fewer settings when the runs were made, or nothing."""
    known = {kind: usual(kind) for kind in KINDS}
    plugins = {
        (kind, run.config[kind]["name"]): unnamed(run.config[kind])
        for run in {(run.task, run.optimizer): run for run in runs}.values()
        for kind in KINDS
    }
    words = []
    for (kind, name), settings in plugins.items():
        own = flat(settings)
        lacking = [key for key in known[kind].get(name, {}) if key.partition(".")[0] not in settings]
        words += [f"{name} without `{'`, `'.join(lacking)}`"] if lacking and own else []
    return f"Made before their YAML had these settings: {'; '.join(words)}." if words else ""


def left_out(runs: Runs) -> str:
    """A line for every run that the report leaves out, with the reason."""
    lines = [f"left out: {shown(folder)}: {reason}" for folder, reason in runs.left_out.items()]
    return "\n".join(lines)


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


def _picture(name: str, reason: str | None, command: str) -> str:
    if reason:
        return f"`{name}` is missing: {reason}."
    also = "" if name.endswith(APPENDIX) else f"; also as [PDF]({name}.pdf)"
    return f"![{name}]({name}.png)\n\n{caption(name)} Made by `{command}`{also}."
