"""Runs and sweeps through Hydra. A sweep is checked whole before its first run, and summed up after its last."""

from __future__ import annotations

import atexit
import inspect
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bbo_bench.arguments import check_arguments
from bbo_bench.board import Board
from bbo_bench.plan import ConfigError, Plan, check_names, reason, shown, takes
from bbo_bench.plugins import KINDS, Choice, Kind, choices, suggestion, unknown
from bbo_bench.status import PLANNED, PLANS, estimate
from bbo_bench.typed import left_to_runs, split
from bbo_bench.workers import Note, outlasting

Known = dict[Kind, dict[str, Choice]]
JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"


@dataclass
class BudgetSchema:
    """Types of the group `budget`."""

    rounds: list[int] = MISSING
    evaluation: int = MISSING
    validation: int = MISSING


@dataclass
class Schema:
    """Types of a run's configuration; the values are in `conf/`."""

    task: Any = MISSING
    optimizer: Any = MISSING
    budget: BudgetSchema = field(default_factory=BudgetSchema)
    name: str = MISSING
    seed: int = MISSING
    device: str = MISSING
    threads: int = MISSING
    timeout: float | None = None
    isolation: str = MISSING
    reproducible: str = MISSING
    loggers: list[str] = MISSING
    results: str = MISSING


@dataclass(frozen=True, eq=False)
class Composed:
    """A run's configuration as Hydra composed it, without Hydra's own part.

    Attributes:
        config: The configuration.
        choices: The name chosen in each of Hydra's groups.
        made_of_seed: Whether the seed is part of another setting.
    """

    config: DictConfig
    choices: dict[str, str]
    made_of_seed: bool

    @classmethod
    def of(cls, config: DictConfig, settings: Any) -> Self:
        """From all that Hydra has composed, and its own part of that."""
        plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        plain.results = str(Path(settings.runtime.cwd, config.results))
        return cls(plain, dict(settings.runtime.choices), bool(re.search(r"\$\{[^}]*seed", OmegaConf.to_yaml(plain))))

    def plan(self, known: Known) -> Plan:
        """The run, checked."""
        return Plan.of(self.config, self.choices, known)


class _Shared(dict[str, Any]):
    """The content of Hydra's store, which it copies whole for every run that it composes, only to read it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def composed(settings: Sequence[str]) -> Plan:
    """The one run that settings describe, checked, as `run` would make it.

    Raises:
        ConfigError: If they describe nothing that can be run, or a sweep.
        PluginError: If plugins clash.
    """
    if any(each.startswith("-") for each in settings):
        raise ConfigError(f"expected settings KEY=VALUE, got {next(each for each in settings if each[0] == '-')}")
    found: list[Plan] = []

    def keep(config: DictConfig) -> None:
        try:
            found.append(Composed.of(config, HydraConfig.get()).plan(_known()))
            _check_pairs(found, told=True)
        except Exception as error:
            raise SystemExit(f"error: {reason(error)}") from error

    launch(settings, keep)
    return found[0]


def launch(arguments: Sequence[str], work: Callable[[DictConfig], None] | None = None) -> None:
    """Run what Hydra's command line describes, or do other `work` with the configuration.

    Raises:
        ConfigError: If it describes nothing that can be run.
        PluginError: If plugins clash.
        SystemExit: If a run fails.
    """
    store = ConfigStore.instance()
    store.repo = _Shared(store.repo)
    store.store(name="schema", node=Schema)
    known = _known()
    sys.argv = ["bbo-bench run"]  # which Hydra's parsers read their name from
    check_arguments(arguments, Schema.__dataclass_fields__, known)
    for kind, found in known.items():
        for choice in found.values():
            store.store(group=kind, name=choice.name, node=OmegaConf.create(choice.settings), provider=str(choice.file))
    traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints errors its way and exits
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")  # joblib's workers, after Ctrl-C
    try:
        sys.argv += left_to_runs(arguments)
        # Hydra takes no sweeper from here, so its own is told how to read values, and that `Sweep` has checked the runs
        sweeper: Any = Plugins.instance().class_name_to_class[f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"]
        sweeper.split_arguments = staticmethod(split)
        sweeper.validate_batch_is_legal = lambda self, batch: None
        launcher: Any = Plugins.instance().class_name_to_class.get(JOBLIB)
        if launcher:
            launcher.launch = outlasting(inspect.unwrap(launcher.launch))
        hydra.main(config_path="pkg://bbo_bench.conf", config_name="config", version_base="1.3")(work or job)()
    except (HydraException, OmegaConfBaseException) as error:
        if traceback:
            raise
        raise ConfigError(_explained(error)) from error


def job(config: DictConfig) -> None:
    """Make one run and say what came of it. In a sweep its failure is noted for the summary, the other runs go on."""
    settings = HydraConfig.get()
    if settings.mode == RunMode.MULTIRUN:
        _noted_job(config, settings, Note(Path(settings.runtime.cwd, settings.sweep.dir), settings.job.num))
        return
    try:
        plan = Composed.of(config, settings).plan(_known())
        _check_pairs([plan])
        plan.execute()
    except Exception as error:
        raise SystemExit(f"error: {reason(error)}") from error
    print(plan.outcome())


def _noted_job(config: DictConfig, settings: Any, note: Note) -> None:
    if note.failed:  # it ended its process
        return
    note.begin()
    try:
        Composed.of(config, settings).plan(_known()).execute(_line(settings))
    except Exception as error:
        try:
            note.fail(reason(error))
        except OSError:
            print(f"failed: {reason(error)}", file=sys.stderr)
    note.end()


class Sweep(Callback):
    """Checks all runs of a sweep before the first, and reports those that failed after the last.

    Hydra turns exceptions of callbacks into warnings, therefore `SystemExit`.
    """

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self._board: Board | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as processes that make the runs get a copy each."""
        return {"plans": [], "_board": None}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Compose and check every run."""
        # joblib replaces a worker whose memory has grown between two runs: nothing is lost
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor", UserWarning)
        atexit.register(_tidy, Path(config.hydra.sweep.dir).absolute(), planned=False)
        try:
            known, runs = _known(), list(_expanded(config))
            _check_names((each for each, _ in runs), known)
            self.plans = _plans(runs, known)
            self._check_folders()
            _check_pairs(self.plans)
            self._announce(config.hydra)
        except Exception as error:
            raise SystemExit(f"error: {_explained(error)}") from error

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print a line per failed run, with its reason, and make the command exit non-zero."""
        if self._board:
            self._board.stop()
        notes = Path(config.hydra.sweep.dir).absolute()
        failed = {i: _outcome(plan, Note(notes, i)) for i, plan in enumerate(self.plans)}
        failed = {i: why for i, why in failed.items() if why}
        _tidy(notes, planned=True)
        print(f"{len(self.plans) - len(failed)} of {len(self.plans)} runs are complete", file=sys.stderr)
        for i, why in failed.items():
            print(f"failed: {shown(self.plans[i].folder)}: {why}", file=sys.stderr)
        if failed:
            raise SystemExit(1)

    def _announce(self, settings: Any) -> None:
        """Say what the sweep will take, and leave word of its runs for `bbo-bench status`."""
        folders = [plan.folder for plan in self.plans]
        rounds = [tuple(plan.config["budget"]["rounds"]) for plan in self.plans]
        notes = Path(settings.sweep.dir)
        for plan in notes.parent.glob(PLANS):  # of sweeps that were interrupted
            if set(map(str, folders)).issuperset(plan.read_text(encoding="utf-8").splitlines()):
                plan.unlink(missing_ok=True)
                with suppress(OSError):  # one that still goes on has more there
                    plan.parent.rmdir()
        notes.mkdir(parents=True)
        (notes / PLANNED).write_text("\n".join(map(str, folders)), encoding="utf-8")
        at_once = _processes(settings.launcher)
        print(estimate(folders, rounds, at_once), file=sys.stderr)
        self._board = Board(folders, rounds, at_once).start()

    def _check_folders(self) -> None:
        seen: set[Path] = set()
        for plan in self.plans:
            if plan.folder in seen:
                raise ConfigError(
                    f"two runs of this sweep share the folder {shown(plan.folder)}; "
                    "make the swept setting part of name=, for instance name='kl_${optimizer.kl_weight}'"
                )
            seen.add(plan.folder)


def _check_names(composed: Iterable[Composed], known: Known) -> None:
    """Check the names of all settings before the first import of a plugin, which takes seconds."""
    for each in set(composed):
        for kind in KINDS:
            settings: Any = OmegaConf.to_container(each.config[kind], resolve=True)
            check_names(known[kind][each.choices[kind]], settings)


def _check_pairs(plans: Sequence[Plan], *, told: bool = False) -> None:
    from bbo_bench.pairs import check_pairs

    check_pairs(plans, told=told)


def _line(settings: Any) -> int:
    """The line of a run's progress bar, below the sweep's: runs that go side by side have different ones."""
    return 1 + int(settings.job.num % (_processes(settings.launcher) or 1))


def _processes(launcher: Any) -> int | None:
    """How many runs a launcher makes at a time; None where that is a cluster's affair."""
    if launcher._target_.endswith("BasicLauncher"):
        return 1
    jobs = launcher.get("n_jobs")
    return jobs if jobs is None or jobs > 0 else os.cpu_count()


def _known() -> Known:
    return {kind: choices(kind) for kind in KINDS}


def _plans(runs: Sequence[tuple[Composed, Sequence[str]]], known: Known) -> list[Plan]:
    """The runs of a sweep from what `_expanded` yields, checked; those that differ in their seed alone share that."""
    first: dict[Composed, Plan] = {}
    plans = []
    for composed, seed in runs:
        composed.config.merge_with_dotlist(list(seed))
        if composed in first and not composed.made_of_seed:
            plans.append(first[composed].seeded(composed.config.seed))
        else:
            plans.append(composed.plan(known))
            first[composed] = plans[-1]
    return plans


def _expanded(config: DictConfig) -> Iterator[tuple[Composed, list[str]]]:
    """For every run of a sweep, its composed configuration but for the seed, and the override of that.

    Hydra takes a quarter of a second to compose one, so runs that differ in their seed alone share it.
    """
    loader = GlobalHydra.instance().config_loader()
    lines = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    arguments: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    overrides = OverridesParser.create(loader).parse_overrides([*lines, *arguments])
    [batch] = split(overrides, None)
    composed: dict[tuple[str, ...], Composed] = {}
    for each in batch:
        rest = tuple(line for line in map(str, each) if not line.startswith("seed="))
        if rest not in composed:
            found = loader.load_sweep_config(config, list(rest))
            composed[rest] = Composed.of(found, found.hydra)
        yield composed[rest], [line for line in map(str, each) if line.startswith("seed=")]


def _outcome(plan: Plan, note: Note) -> str | None:
    """Why a run failed, or None if it is complete."""
    if note.failed:
        return note.failed
    provenance = plan.folder / "provenance.json"
    try:
        if provenance.exists() and json.loads(provenance.read_text(encoding="utf-8"))["complete"]:
            return None
    except (OSError, ValueError) as error:
        return f"{provenance} cannot be read: {error}"
    return "it ended before it was complete, without a word; the same command resumes it"


def _tidy(folder: Path, *, planned: bool) -> None:
    """Remove what a sweep leaves, its plan too if it has ended; the logs of a cluster's jobs stay."""
    with suppress(OSError):
        for file in (*folder.glob("*.failed"), *folder.glob("*.begun"), folder / "multirun.yaml"):
            file.unlink(missing_ok=True)
        if planned:
            (folder / PLANNED).unlink(missing_ok=True)
        folder.rmdir()


def _explained(error: Exception) -> str:
    """The message of an error; Hydra's in short, with the closest names where something is unknown."""
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return reason(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group in KINDS:
            return unknown(group, name, error.options)
        if (extra := name.partition("_")[0].replace("submitit", "slurm")) in ("ray", "slurm") and "launcher" in group:
            return f"hydra/launcher={name} needs an extra: pip install 'bbo-bench[{extra}]'"
        return f"there is no {group} named {name!r}; {suggestion(name, error.options)}"
    if absent := re.match(r"You must specify '(\w+)'", lines[0]):
        return f"{absent[1]} is missing: add {absent[1]}=NAME; `bbo-bench list` has all"
    cause = error.__cause__
    if not isinstance(cause, OmegaConfBaseException):
        return " ".join(lines)
    if isinstance(parent := cause.parent_node, DictConfig) and cause.key is not None and cause.key not in parent:
        if takes(str(parent.get("_target_")), str(cause.key)):
            return f"{cause.full_key} is not in the YAML file, which leaves its default; add it by +{cause.full_key}="
        known = [str(key) for key in parent if key != "hydra"]
        return f"there is no setting {cause.full_key}; {suggestion(str(cause.key), known)}"
    return f"{lines[0]}: {str(cause).splitlines()[0]}"
