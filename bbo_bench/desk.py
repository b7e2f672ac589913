"""The commands for designs of one's own: score files, export runs, ask and tell."""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bbo_bench.plugins import KINDS, UsageError, find

if TYPE_CHECKING:
    import pandas as pd

    from bbo_bench.campaign import Campaign, Verdict
    from bbo_bench.core import Task
    from bbo_bench.plan import Plan

INFEASIBLE = ("-inf", "infeasible", "failed")
"""Cells that say that a design cannot be made."""
EMPTY = ("", "nan", "na", "n/a", "-", "none", "null")
"""Cells that hold no score."""
SHOWN = ("best", "top10", "validity", "elbo_z", "pairwise", "unique")
"""Metrics that are said of a round."""
MEASURED = ("best", "top10")
"""Those in units of the scores."""


def score(parsed: argparse.Namespace) -> int:
    """Score designs in files, one by one."""
    import pandas as pd

    from bbo_bench.assess import assess
    from bbo_bench.io import read

    settings = [each for each in parsed.words if "=" in each and not Path(each).exists()]
    files = [Path(each) for each in parsed.words if each not in settings]
    if not files:
        raise UsageError(f"name the files, or folders of files, whose designs of {parsed.task} are to be scored")
    task = named_task(parsed.task, settings)
    found = read(task, files, parsed.column)
    table = assess(task, found.x, found.names, validate=not parsed.unchecked) if len(found.x) else pd.DataFrame()
    table = table.dropna(axis="columns", how="all")
    empty = [each for each in ("fault", "nearest") if each in table and not table[each].str.len().any()]
    if len(table):
        print(table.drop(columns=empty).to_string(index=False, float_format=lambda number: f"{number:.4g}"))
    for name, reason in found.refused.items():
        print(f"refused: {name}: {reason}")
    if parsed.out is not None:
        refused = pd.DataFrame({"name": list(found.refused), "refused": list(found.refused.values())})
        pd.concat([table.assign(refused=""), refused]).to_csv(parsed.out, index=False)
        print(f"written: {parsed.out}")
    return int(not len(table))


def export(parsed: argparse.Namespace) -> int:
    """Write the best designs of a run."""
    import numpy as np
    import torch

    from bbo_bench.assess import best
    from bbo_bench.campaign import sign_of
    from bbo_bench.io import formats, texts, usual, write
    from bbo_bench.oracle import true_scores

    plan = recorded(parsed.run)
    task = plan.task()
    with np.load(existing(parsed.run / "designs.npz")) as file:
        queried = [torch.as_tensor(file[f"queried_{i}"]) for i in range(len(file.files))]
    with existing(parsed.run / "ledger.csv").open(newline="", encoding="utf-8") as opened:
        ledger = list(csv.DictReader(opened))
    told = plan.config.get("scores") == "told" or not task.scored
    if parsed.queried or told:
        column = "true" if told else "observed"  # what cannot be made was observed as the worst, and is none
        x, y = torch.cat(queried), torch.tensor([float(row[column]) for row in ledger], dtype=torch.double)
    else:
        with np.load(existing(parsed.run / "recommended.npz")) as file:
            x = torch.as_tensor(file[f"recommended_{len(queried) - 1}"])
        y = true_scores(task, x)
    sign = sign_of(plan.config, task)
    rows = best(task, x, y, parsed.top, distinct=parsed.distinct)
    rows = rows[y[rows].isfinite()]
    names = [f"{i + 1:0{len(str(len(rows)))}}" for i in range(len(rows))]
    for name, row, text in zip(names, rows.tolist(), texts(task, x[rows]), strict=True):
        print(f"{name}  {sign * float(y[row]):.4g}  {text}".rstrip())
    suffix = usual(formats(task)) if parsed.format is None else f".{parsed.format.lstrip('.')}"
    if parsed.out is None:
        parsed.out = parsed.run / "export"
    files = write(task, x[rows], names, placed(task, parsed.out, suffix))
    if suffix == ".csv":
        with_scores(files[0], [sign * float(y[row]) for row in rows.tolist()])
    print(f"written: {files[0] if len(files) == 1 else f'{len(files)} files in {files[0].parent}'}")
    return 0


def ask(parsed: argparse.Namespace) -> int:
    """Write the designs of a campaign's next round."""
    from bbo_bench.campaign import some
    from bbo_bench.io import formats, write
    from bbo_bench.oracle import validity

    folder, plan = parsed.folder, asked_plan(parsed)
    campaign = campaign_of(plan)
    asked = campaign.ask()
    known = formats(campaign.task)
    suffix = before(folder, known) if parsed.format is None else f".{parsed.format.lstrip('.')}"
    if suffix not in known:
        raise UsageError(f"{plan.config['task']['name']} is written as {', '.join(sorted(known))}")
    files = write(campaign.task, asked.x, asked.ids, placed(campaign.task, folder / f"round_{asked.round}", suffix))
    sheet = folder / f"round_{asked.round}_scores.csv"
    if not sheet.exists():
        columns = measured_columns(campaign.task)
        lines = [",".join(["id", *columns]), *(each + "," * len(columns) for each in asked.ids)]
        sheet.write_text("".join(f"{line}\n" for line in lines))
    where = files[0] if len(files) == 1 else files[0].parent
    print(f"round {asked.round}: {len(asked.ids)} designs in {where}")
    legal = validity(campaign.task, asked.x).tolist()
    if illegal := [name for name, fine in zip(asked.ids, legal, strict=True) if not fine]:
        print(f"invalid by the task's own check, told as `failed` where they cannot be made: {some(illegal)}")
    print(f"fill in {sheet}, then: bbo-bench tell {folder} {sheet}")
    return 0


def asked_plan(parsed: argparse.Namespace) -> Plan:
    """The campaign that is begun, gone on with, or made longer.

    Raises:
        UsageError: If that is not said.
    """
    from bbo_bench.launch import composed

    folder, begun = parsed.folder, (parsed.folder / "config.yaml").exists()
    if parsed.settings:
        given = {each.partition("=")[0] for each in parsed.settings}
        if begun and not {"task", "optimizer"} <= given:
            raise UsageError(
                f"{folder} holds a campaign: `bbo-bench ask {folder}` goes on with it; to make it longer, "
                "give all of its settings and the longer budget.rounds"
            )
        plan = replace(composed(["budget.validation=0", *parsed.settings]), folder=folder)
        return replace(plan, config={**plan.config, "minimize": True}) if parsed.minimize else plan
    if not begun:
        raise UsageError(
            f"{folder} holds no campaign yet; begin one with task=NAME optimizer=NAME 'budget.rounds=[24,24,48]'"
        )
    plan = recorded(folder)
    if parsed.minimize and not plan.config.get("minimize"):
        raise UsageError(f"{folder} was begun for high scores, and goes on so; begin another with --minimize")
    return plan


def before(folder: Path, known: Collection[str]) -> str:
    """The suffix of what was asked for first; the usual one where nothing was."""
    from bbo_bench.io import usual

    files = [each for each in (*folder.glob("round_0.*"), *folder.glob("round_0/*")) if each.suffix in known]
    return min(files, key=lambda each: each.stat().st_mtime_ns).suffix if files else usual(known)


def tell(parsed: argparse.Namespace) -> int:
    """Take the scores of a campaign's round."""
    campaign = campaign_of(recorded(parsed.folder))
    objective, constraints = asked_for(campaign.task)
    if parsed.column is not None or (objective, constraints) == ("score", ()):
        names, scores = read_scores(parsed.scores, parsed.column)
    else:
        names, scores = measurements(parsed.scores, objective, constraints)
    verdict = campaign.tell(names, scores, parsed.missing.replace("-", " "))
    if failed := sum(score == -math.inf for score in scores):
        print(
            f"{failed} of {len(set(names))} could not be made: to the optimizer as bad as the worst that was measured"
        )
    if several := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        print(f"measured several times, and told by the mean: {', '.join(several)}")
    print("\n".join(said(verdict, campaign.sign)))
    return 0


def measured_columns(task: Task) -> list[str]:
    """What is to be filled in of a design."""
    from bbo_bench.table import columns_in

    objective, constraints = asked_for(task)
    return list(dict.fromkeys(word for each in (objective, *constraints) for word in columns_in(each)))


def asked_for(task: Task) -> tuple[str, tuple[str, ...]]:
    """The objective and the constraints of a task, as expressions of what is measured."""
    return getattr(task, "objective", None) or "score", tuple(getattr(task, "constraints", ()))


def said(verdict: Verdict, sign: int) -> list[str]:
    """What a round has come to, in lines; scores as they were told."""
    known = {key: verdict.metrics[key] for key in SHOWN if not math.isnan(verdict.metrics.get(key, math.nan))}
    numbers = [f"{key} {value * (sign if key in MEASURED else 1):.3g}" for key, value in known.items()]
    lines = [f"round {verdict.round} is told, {verdict.metrics['queries']} designs in all: {', '.join(numbers)}"]
    if verdict.calibration:
        found = verdict.calibration
        lines.append(
            f"predicted against measured: {found['gap']:+.2f} standard deviations on average, "
            f"error {found['error']:.2f}, rank correlation {found['rank_correlation']:.2f}"
        )
    return lines + [f"ALARM: {each}" for each in verdict.alarms]


def read_scores(path: Path, column: str | None) -> tuple[list[str], list[float]]:
    """Ids and scores of a table with a column `id`; NaN where a cell is empty, −inf where a design cannot be made.

    Raises:
        UsageError: If it is no such table.
    """
    from bbo_bench.io import NO_UTF8, SEMICOLONS

    try:
        with existing(path).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} {NO_UTF8}") from error
    headings = [key for key in (rows[0] if rows else {}) if key]
    by_name = {key.strip().lower(): key for key in headings}
    wanted = (column or "score").lower()
    if "id" not in by_name or wanted not in by_name:
        if len(headings) == 1 and ";" in headings[0]:
            raise UsageError(f"{path} {SEMICOLONS}")
        raise UsageError(f"{path}: expected columns id and {wanted}, got {', '.join(headings) or 'nothing'}")
    names, scores = [], []
    for number, row in enumerate(rows, 2):
        if not any((each or "").strip() for each in row.values() if not isinstance(each, list)):
            continue  # which spreadsheets leave between and below
        cell = (row[by_name[wanted]] or "").strip().lower()
        try:
            value = -math.inf if cell in INFEASIBLE else math.nan if cell in EMPTY else float(cell)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: {cell!r} is no score") from error
        names.append((row[by_name["id"]] or "").strip())
        scores.append(value)
    return names, scores


def measurements(path: Path, objective: str, constraints: Sequence[str]) -> tuple[list[str], list[float]]:
    """Ids and scores of a table with a column `id`, by an expression of its other columns.

    Raises:
        UsageError: If it is no such table.
    """
    from bbo_bench.table import measured, read_csv

    frame = read_csv(existing(path), dtype=str, keep_default_na=False, skipinitialspace=True)
    if "id" not in frame:
        raise UsageError(f"{path}: expected a column id, got {', '.join(map(str, frame.columns))}")
    frame = frame[frame["id"].str.strip() != ""]  # which spreadsheets leave below a table
    cells = frame.drop(columns="id").apply(lambda column: column.str.strip().str.lower())
    cannot = cells.isin(INFEASIBLE).any(axis=1).to_numpy()
    numbers = cells.mask(cells.isin([*EMPTY, *INFEASIBLE])).apply(_numbers)
    scores = measured(numbers, objective, constraints)
    scores[cannot] = -math.inf
    return frame["id"].str.strip().tolist(), scores.tolist()


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column as numbers; as it is where a cell is none."""
    import pandas as pd

    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


def with_scores(path: Path, scores: Sequence[float]) -> None:
    """Add a column of scores to a table of designs."""
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.insert(1, "score", list(scores))
    table.to_csv(path, index=False)


def campaign_of(plan: Plan) -> Campaign:
    """The campaign that a plan describes."""
    from bbo_bench.campaign import Campaign

    return Campaign.of(plan.task(), plan.build(), plan.folder, plan.config)


def recorded(folder: Path) -> Plan:
    """The plan of what a folder holds.

    Raises:
        UsageError: If it holds no run, or one of plugins that are not here.
    """
    import yaml

    from bbo_bench.plan import Plan, check
    from bbo_bench.untrusted import DAMAGE, describes_a_run, read_yaml

    path = folder / "config.yaml"
    if not path.is_file():
        raise UsageError(f"there is no run and no campaign in {folder}")
    try:
        config: Any = read_yaml(path.read_text(encoding="utf-8"))
    except (*DAMAGE, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not describes_a_run(config):
        raise UsageError(f"{path} describes no run")
    for kind in KINDS:
        settings = {key: value for key, value in config[kind].items() if key != "name"}
        if "_target_" not in settings:
            raise UsageError(f"{folder} was made by a program of its own, with {config[kind]['name']}; go on there")
        check(find(kind, config[kind]["name"]), settings)
    return Plan(folder, config)


def named_task(name: str, settings: Sequence[str]) -> Task:
    """The task of `task=NAME`, or of a bare name, with settings `task.KEY=VALUE`.

    Raises:
        UsageError: If there is none, or a setting is no such.
    """
    from omegaconf import OmegaConf

    from bbo_bench.library import load_task

    if wrong := [each for each in settings if not each.startswith("task.")]:
        raise UsageError(f"expected task.KEY=VALUE, got {wrong[0]}")
    given = OmegaConf.to_container(OmegaConf.from_dotlist([each.removeprefix("task.") for each in settings]))
    return load_task(name.removeprefix("task="), **given)  # type: ignore[arg-type]


def placed(task: Task, path: Path, suffix: str) -> Path:
    """The file of a suffix, or a pattern of files in a folder where each holds one design."""
    from bbo_bench.io import formats

    form = formats(task).get(suffix)
    return path / f"*{suffix}" if form is not None and form.single else path.with_name(path.name + suffix)


def existing(path: Path) -> Path:
    """The path.

    Raises:
        UsageError: If there is no such file.
    """
    if not path.is_file():
        raise UsageError(f"{path} is a folder, not a file" if path.is_dir() else f"there is no file {path}")
    return path
