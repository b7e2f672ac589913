"""Tuning that never sees the task it is judged on: one set of trials on several families of tasks, read leave-one-out.

A trial is a configuration of an optimizer's search space, run on a task of every family with seeds that nothing else
reports. Configurations are a scrambled Sobol sequence (Optuna's `QMCSampler`), so that none depends on the outcome of
another: what is best on average over the other families has then not seen the family that it is judged on. The journal
of an optimizer holds its trials, and any number of processes, at any time, can add to it.
"""

from __future__ import annotations

import csv
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bbo_bench.plan import Plan, check, reason
from bbo_bench.plugins import Choice, UsageError, find

if TYPE_CHECKING:
    import optuna

FAMILIES = ("tfbind8", "hartmann_6", "nav1d_partial", "molecule_qed")
"""A task of each family that is trained on; airfoils and RNA are left out, for their hours and to be judged unseen."""
SEEDS = (1000, 1001)
"""Seeds that no report uses."""
FOLDER = Path("results/tuning")
"""Where trials lie that nobody gives another folder."""
BUDGET = {"rounds": [96, 160], "evaluation": 256, "validation": 0}
PER_SETTING = 2
"""Trials for every setting that is searched."""
COLUMNS = ["optimizer", "trial", "task", "seed", "score", "seconds", "settings"]
Scores = dict[str, dict[int, dict[int, float]]]
"""By task, seed and trial."""


class TuningError(UsageError):
    """A search space makes no sense, or Optuna is missing."""


class Chosen(NamedTuple):
    """What tuning comes to on one family, for a family that it is judged on."""

    task: str
    trial: int
    """The trial that is best on average over the other families."""
    elsewhere: float
    """Its mean score here."""
    here: float
    """That of trials that were tuned here: chosen by one seed, judged by the others."""


def tune(
    names: Sequence[str],
    folder: Path,
    *,
    tasks: Sequence[str] = FAMILIES,
    seeds: Sequence[int] = SEEDS,
    budget: Mapping[str, Any] = BUDGET,
    per_setting: int = PER_SETTING,
    jobs: int = 1,
    finalists: int = 0,
    of: Path = FOLDER,
) -> None:
    """Make the trials of optimizers that are still to come, and write `trials.csv`.

    A search of small budgets finds what is good early. Its best settings may be tried again at the budget that they
    are to be judged at: as `finalists`, in a folder of their own.

    Args:
        names: Of optimizers whose YAML has a `search`.
        folder: Where journals, runs and the table lie.
        tasks: A task of each family.
        seeds: Of every trial's runs.
        budget: Of every run.
        per_setting: Trials for every setting that is searched.
        jobs: Runs side by side.
        finalists: How many of the best trials in `of` are made anew; 0 for a search.
        of: Folder of an earlier search.

    Raises:
        UsageError: If a name is unknown, a search space makes no sense, Optuna is missing, or the folder's trials are
            of other tasks, seeds or rounds.
    """
    import joblib

    chosen = [find("optimizer", name) for name in names]
    spaces = {choice.name: space(choice) for choice in chosen}
    for task in tasks:
        find("task", task)
    folder.mkdir(parents=True, exist_ok=True)
    with joblib.Parallel(jobs, return_as="generator_unordered") as parallel:
        for choice in chosen:
            study = _study(choice.name, folder)
            _check_alike(study, {"tasks": list(tasks), "seeds": list(seeds), "rounds": list(budget["rounds"])}, folder)
            _take_up(study)
            wanted = per_setting * len(spaces[choice.name])
            if finalists:
                earlier = _finalists(choice.name, of, finalists)
                wanted = len(earlier)
                for settings in earlier:
                    study.enqueue_trial(settings, skip_if_exists=True)
            while (made := _under_way(study)) < wanted:
                trial = study.ask(spaces[choice.name])
                trial.set_user_attr("process", os.getpid())
                settings = rounded(trial.params)
                print(f"{choice.name}: trial {made + 1} of {wanted}: {json.dumps(settings)}", flush=True)
                plans = {
                    (task, seed): _plan(choice, settings, task, seed, budget, folder)
                    for task in tasks
                    for seed in seeds
                }
                outcomes = dict(parallel(joblib.delayed(_outcome)(plan) for plan in plans.values()))
                _finish(study, trial, {key: outcomes[str(plan.folder)] for key, plan in plans.items()})
                write(folder)
    write(folder)


def _finish(study: optuna.Study, trial: optuna.Trial, outcomes: Mapping[tuple[str, int], dict[str, Any]]) -> None:
    """Record the outcomes of a trial's runs, by task and seed, but for those that the optimizer cannot work on."""
    kept = [
        {"task": task, "seed": seed} | outcome
        for (task, seed), outcome in outcomes.items()
        if outcome["score"] is not None
    ]
    trial.set_user_attr("runs", kept)
    study.tell(trial, float(np.mean([row["score"] for row in kept])) if kept else 0.0)


def space(choice: Choice) -> dict[str, optuna.distributions.BaseDistribution]:
    """The search space in an optimizer's YAML, as Optuna has it.

    Raises:
        TuningError: If there is none, a range is malformed, or Optuna is missing.
        PluginError: If the optimizer has no such settings.
    """
    try:
        from optuna.distributions import CategoricalDistribution, FloatDistribution
    except ImportError as error:
        raise TuningError('tuning needs Optuna: pip install "bbo-bench[tune]"') from error
    if not choice.search:
        raise TuningError(
            f"{choice.name} has nothing to tune: its YAML needs `search`, as in "
            "search: {training.learning_rate: [log, 3e-4, 3e-3]}"
        )
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for key, node in choice.search.items():
        kind, *values = node if isinstance(node, list) and node else [None]
        numbers = [each for each in values if isinstance(each, int | float)]
        if kind == "choice" and values:
            found[key] = CategoricalDistribution(values)
        elif kind in ("log", "uniform") and len(numbers) == len(values) == 2 and numbers[0] < numbers[1]:
            found[key] = FloatDistribution(numbers[0], numbers[1], log=kind == "log")
        else:
            raise TuningError(
                f"{choice.name} searches {key}: expected [log, low, high], [uniform, low, high] or [choice, ...], "
                f"got {node}"
            )
    check(choice, _merged(choice, {key: _middle(each) for key, each in found.items()}))
    return found


def rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's settings, numbers to two digits, as a YAML would have them."""
    return {key: float(f"{value:.2g}") if isinstance(value, float) else value for key, value in params.items()}


def scores(rows: Sequence[Mapping[str, Any]]) -> Scores:
    """One optimizer's scores by task, seed and trial."""
    found: Scores = {}
    for row in rows:
        found.setdefault(row["task"], {}).setdefault(int(row["seed"]), {})[int(row["trial"])] = float(row["score"])
    return found


def best(found: Scores) -> int:
    """The trial of the highest mean score over tasks."""
    return ranked(found)[0]


def ranked(found: Scores) -> list[int]:
    """All trials, that of the highest mean score over tasks first."""
    means = np.mean([_by_trial(each) for each in found.values()], axis=0)
    return [_trials(found)[i] for i in np.argsort(-means, kind="stable")]


def leave_one_out(found: Scores) -> list[Chosen]:
    """For every family what tuning on the others comes to there, and what tuning there would."""
    trials, rows = _trials(found), []
    for task, seeds in found.items():
        others = {other: each for other, each in found.items() if other != task}
        trial = best(others) if others else trials[0]
        matrix = np.array([[seeds[seed][each] for each in trials] for seed in seeds])
        judged = [
            matrix[i, np.delete(matrix, i, 0).mean(0).argmax()] if len(matrix) > 1 else np.nan
            for i in range(len(matrix))
        ]
        rows.append(Chosen(task, trial, float(matrix[:, trials.index(trial)].mean()), float(np.mean(judged))))
    return rows


def shipped(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The settings of an optimizer's trial that is best over all families, its default."""
    own = [row for row in rows if row["optimizer"] == name]
    trial = best(_complete(scores(own)))
    found: dict[str, Any] = json.loads(next(row["settings"] for row in own if int(row["trial"]) == trial))
    return found


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows of `trials.csv`."""
    with (folder / "trials.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(folder: Path) -> None:
    """Write `trials.csv`, a row per run of all finished trials, aside first."""
    rows = []
    for journal in sorted(folder.glob("*.journal")):
        for trial in _recorded(journal):
            about = {"optimizer": journal.stem, "trial": trial.number, "settings": json.dumps(rounded(trial.params))}
            rows += [about | run for run in trial.user_attrs.get("runs", [])]
    part = folder / "trials.csv.part"
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(folder / "trials.csv")


def summary(folder: Path) -> str:
    """What was chosen for every optimizer, and what tuning elsewhere lost on each family, as Markdown."""
    rows = read(folder)
    blocks, hours = [], 0.0
    for name in dict.fromkeys(row["optimizer"] for row in rows):
        own = [row for row in rows if row["optimizer"] == name]
        found = _complete(scores(own))
        if not found:
            continue
        spent = sum(float(row["seconds"]) for row in own) / 3600
        hours += spent
        settings = json.dumps(shipped(rows, name))
        lines = [
            f"### {name}",
            f"{len(_trials(found))} trials, {spent:.1f} hours. Best over all families: `{settings}`.",
            "| family | tuned elsewhere | tuned here |\n|---|---|---|",
        ]
        table = [f"| `{each.task}` | {each.elsewhere:.3f} | {_shown(each.here)} |" for each in leave_one_out(found)]
        blocks.append("\n\n".join(lines) + "\n" + "\n".join(table))
    return "\n\n".join([*blocks, f"All: {hours:.1f} hours of one core."])


def _shown(score: float) -> str:
    return "needs two seeds" if math.isnan(score) else f"{score:.3f}"


def _study(name: str, folder: Path) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its interface may change
        sampler = optuna.samplers.QMCSampler(
            scramble=True, seed=crc32(name.encode()), warn_independent_sampling=False, warn_asynchronous_seeding=False
        )
    storage = _storage(folder / f"{name}.journal")
    return optuna.create_study(
        storage=storage, sampler=sampler, study_name=name, direction="maximize", load_if_exists=True
    )


def _finalists(name: str, folder: Path, n: int) -> list[dict[str, Any]]:
    """The settings of an optimizer's `n` best trials in a folder, or of all where there are fewer.

    Raises:
        TuningError: If there is none.
    """
    own = [row for row in read(folder) if row["optimizer"] == name] if (folder / "trials.csv").exists() else []
    if not (found := _complete(scores(own))):
        raise TuningError(f"{folder} has no finished trial of {name}: search first, or give another --of")
    known = {int(row["trial"]): json.loads(row["settings"]) for row in own}
    return [known[trial] for trial in ranked(found)[:n]]


def _check_alike(study: optuna.Study, conditions: dict[str, list[Any]], folder: Path) -> None:
    """Raise `TuningError` where a study's trials are of other conditions; the first ones are kept."""
    kept = study.user_attrs.get("conditions")
    if kept is None:
        study.set_user_attr("conditions", conditions)
    elif kept != conditions:
        wrong = ", ".join(f"{key} {kept[key]}, now {value}" for key, value in conditions.items() if kept[key] != value)
        raise TuningError(
            f"trials of {study.study_name} in {folder} cannot be compared with new ones: they had {wrong}. "
            "Give the same, or another --out"
        )


def _recorded(journal: Path) -> list[optuna.trial.FrozenTrial]:
    """The trials of a journal, which stays as it is."""
    import optuna

    return optuna.load_study(storage=_storage(journal), study_name=journal.stem).trials


def _storage(journal: Path) -> optuna.storages.JournalStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(journal)))


def _take_up(study: optuna.Study) -> None:
    """Ask again for trials whose process is gone; their runs go on from their folders."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if not _alive(trial.user_attrs.get("process")):
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)


def _under_way(study: optuna.Study) -> int:
    """Trials that are finished, or some process's."""
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING)))


def _alive(process: Any) -> bool:
    """Whether a process of this number runs, other than this one, which has just begun."""
    if not isinstance(process, int) or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _plan(
    choice: Choice, params: Mapping[str, Any], task: str, seed: int, budget: Mapping[str, Any], folder: Path
) -> Plan:
    config = {
        "task": {"name": task, **find("task", task).settings},
        "optimizer": {"name": choice.name, **_merged(choice, params)},
        "budget": dict(budget),
        "seed": seed,
        "device": "cpu",
        "threads": 1,
    }
    digest = f"{crc32(json.dumps([params, config['budget']], sort_keys=True).encode()):08x}"
    return Plan(folder / "runs" / digest / task / choice.name / f"seed_{seed}", config)


def _merged(choice: Choice, params: Mapping[str, Any]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    changes = OmegaConf.from_dotlist([f"{key}={json.dumps(value)}" for key, value in params.items()])
    merged: Any = OmegaConf.to_container(OmegaConf.merge(choice.settings, changes))
    return dict(merged)


def _middle(distribution: optuna.distributions.BaseDistribution) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution)
    return (distribution.low + distribution.high) / 2


def _outcome(plan: Plan) -> tuple[str, dict[str, Any]]:
    """The run's folder, its score and seconds; 0 where the optimizer fails, None where it cannot work on the task."""
    from bbo_bench.core import UnsuitableError
    from bbo_bench.record import RecordError

    try:
        plan.execute()
    except (RecordError, OSError, MemoryError) as error:  # not the optimizer's fault
        raise TuningError(f"{plan.folder} could not be run; its trial is left open: {reason(error)}") from error
    except Exception as error:
        cause = error.__cause__ or error
        print(f"{plan.folder}: {reason(error)}", flush=True)
        return str(plan.folder), {"score": None if isinstance(cause, UnsuitableError) else 0.0, "seconds": 0.0}
    with (plan.folder / "metrics.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    spent = json.loads((plan.folder / "provenance.json").read_text())["seconds"]
    return str(plan.folder), {"score": float(last["score"]), "seconds": round(sum(each["total"] for each in spent), 1)}


def _complete(found: Scores) -> Scores:
    """The trials that every task and seed has."""
    sets = [set(each) for seeds in found.values() for each in seeds.values()]
    common = set.intersection(*sets) if sets else set()
    if not common:
        return {}
    return {
        task: {seed: {trial: each[trial] for trial in sorted(common)} for seed, each in seeds.items()}
        for task, seeds in found.items()
    }


def _trials(found: Scores) -> list[int]:
    return list(next(iter(next(iter(found.values())).values())))


def _by_trial(seeds: Mapping[int, Mapping[int, float]]) -> NDArray[np.float64]:
    return np.asarray(np.mean([list(each.values()) for each in seeds.values()], axis=0))
