"""The command line: `bbo-bench run | status | report | compare | list | ...`. Only who needs torch imports it."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path

import yaml

from bbo_bench import __version__, desk
from bbo_bench.costs import seconds
from bbo_bench.library import load_task
from bbo_bench.plugins import KINDS, Choice, Kind, PluginError, UsageError, choices, find, unknown

RUN_HELP = """\
usage: bbo-bench run [-m] [+experiment=PRESET] [name=FOLDER] task=TASK optimizer=OPTIMIZER [SETTING=VALUE ...]

Run an optimizer on a task, or with -m a sweep of them. Complete runs are skipped, incomplete ones resumed.

  bbo-bench run task=airfoil optimizer=sqdf seed=0 budget=standard
  bbo-bench run task=airfoil optimizer=sqdf optimizer.gamma=1.0 name=undiscounted
  bbo-bench run -m task=airfoil optimizer=sqdf,cma_es seed=0,1,2 hydra/launcher=joblib hydra.launcher.n_jobs=2
  bbo-bench run -m +experiment=smoke

Settings, with their defaults:
  name=default  seed=0  budget=standard (smoke | standard | paper)  device=auto (auto | cpu | cuda | mps)  threads=1
  timeout=null (seconds that a run may take)  isolation=none (none | process: the optimizer in a process of its own)
  loggers=[] (of tensorboard, mlflow, wandb: told the metrics after every round)
  reproducible=fast (fast | strict: instructions of every x86-64 processor with AVX2)  results=results
  task.KEY=VALUE  optimizer.KEY=VALUE (`bbo-bench show optimizer=sqdf` lists its keys)
Everything else is Hydra's: `bbo-bench run --hydra-help`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if os.getcwd() not in sys.path:  # for functions of one's own, which a task's score may be
        sys.path.append(os.getcwd())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show é shows something
    try:
        if arguments[:1] == ["run"]:
            return run(arguments[1:])
        parsed = _parser().parse_args(arguments)
        return int(parsed.command(parsed))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command takes it up where it stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # what reads the output, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if not _expected(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def _expected(error: RuntimeError) -> bool:
    """Whether a message says all: of a folder, a task or an optimizer that cannot be used."""
    from bbo_bench.loop import OptimizerError
    from bbo_bench.oracle import TaskError
    from bbo_bench.record import RecordError

    return isinstance(error, OptimizerError | RecordError | TaskError)


def run(arguments: Sequence[str]) -> int:
    """Run an optimizer on a task, or a sweep; Hydra reads these arguments."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(RUN_HELP, end="")
        return 0 if arguments else 1
    from bbo_bench.launch import launch

    launch(arguments)
    return 0


def report(parsed: argparse.Namespace) -> int:
    """Tables and figures from run folders."""
    _check_exist(parsed.folders)
    from bbo_bench.report import ReportError, summary_text, write_report
    from bbo_bench.report.live import watch

    try:
        page = watch(parsed.folders, parsed.out) if parsed.watch else write_report(parsed.folders, parsed.out)
    except ReportError as error:
        raise UsageError(str(error)) from error
    print(f"{summary_text(page)}\nwritten: {page}")
    return 0


def compare(parsed: argparse.Namespace) -> int:
    """Optimizers against one of them, or two folders of the same runs against each other."""
    _check_exist(parsed.folders)
    from bbo_bench.report import ReportError, reproduction, write_comparison

    try:
        if parsed.reproduction:
            if len(parsed.folders) != 2:
                raise UsageError(f"--reproduction compares 2 folders of the same runs, got {len(parsed.folders)}")
            lines, same = reproduction(*parsed.folders, rtol=parsed.rtol, atol=parsed.atol)
            print(lines)
            return int(not same)
        if parsed.against is None:
            raise UsageError("compare needs --against OPTIMIZER, or --reproduction with two folders")
        print(write_comparison(parsed.folders, parsed.against, parsed.metric, parsed.out))
    except ReportError as error:
        raise UsageError(str(error)) from error
    return 0


def status(parsed: argparse.Namespace) -> int:
    """How far runs have come."""
    from bbo_bench.status import status

    print(status(parsed.folders))
    return 0


def list_plugins(parsed: argparse.Namespace) -> int:
    """All tasks and optimizers, a line each, variants below what they vary; the names of budgets and presets."""
    found = {kind: choices(kind) for kind in KINDS}
    width = max((len(name) for names in found.values() for name in names), default=0) + 2
    costs = seconds()
    for kind, names in found.items():
        note = "; min: minutes of a run of `standard` on airfoils, one core" if kind == "optimizer" else ""
        print(f"{kind}s{note}:")
        led = {choice.file.parent for choice in names.values() if _leads(choice)}
        for choice in sorted(names.values(), key=_place):
            name = f"  {choice.name}" if choice.file.parent in led and not _leads(choice) else choice.name
            cost = f"{costs[choice.name] / 60:4.1f} min  " if choice.name in costs else " " * 10
            missing = f" [needs {', '.join(choice.missing)}: {choice.remedy}]" if choice.missing else ""
            missing += f" [needs {', '.join(choice.blank)}]" if choice.blank else ""
            print(f"  {name:{width}}  {cost if kind == 'optimizer' else ''}{choice.summary}{missing}")
    for group, option in {"budget": "budget=", "experiment": "+experiment="}.items():
        files = sorted((Path(__file__).parent / "conf" / group).glob("*.yaml"))
        print(f"{option}{'|'.join(file.stem for file in files)}")
    return 0


def _leads(choice: Choice) -> bool:
    """Whether a choice has the name of its folder, and so is what the others there vary."""
    return choice.name == choice.file.parent.name


def _place(choice: Choice) -> tuple[str, bool, str]:
    """Variants come after what they vary."""
    return choice.file.parent.name, not _leads(choice), choice.name


def show(parsed: argparse.Namespace) -> int:
    """A plugin's card: its README, its settings, the quality of its prior."""
    choice = _named(parsed.plugin)
    print(f"{choice.kind} {choice.name}: {choice.summary}\n{choice.file}\n")
    if choice.missing:
        print(f"It needs {', '.join(choice.missing)}, not installed here: {choice.remedy}\n")
    print(f"settings:\n{_indented(choice.settings)}")
    if made := _prior_of(choice):
        print(f"prior:\n{_indented(made)}")
    if (readme := choice.file.with_name("README.md")).exists():
        print(readme.read_text(encoding="utf-8"))
    return 0


def check(parsed: argparse.Namespace) -> int:
    """The conformance suite on one plugin."""
    from bbo_bench.plan import check as check_settings
    from bbo_bench.testing import check_plugin

    choice = _named(parsed.plugin)
    check_settings(choice, choice.settings)
    return int(check_plugin(choice.kind, choice.name))


def card(parsed: argparse.Namespace) -> int:
    """Measure the figures of a task's card."""
    from omegaconf import OmegaConf

    from bbo_bench.card import differences, measure

    choice = _named(parsed.task if "=" in parsed.task else f"task={parsed.task}")
    settings = OmegaConf.to_container(OmegaConf.from_dotlist([_setting(each) for each in parsed.settings]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constants that were measured elsewhere: they are measured here
        task = load_task(choice.name, **settings)  # type: ignore[arg-type]
    if not task.scored:
        raise UsageError(f"{choice.name} has no score of its own to be measured; ask for its designs (bbo-bench ask)")
    figures = measure(task)
    print(_indented(figures), end="")
    if parsed.write:
        found = figures["scores"]
        best = max(found["best valid of the data"], found["best valid of the prior"])
        set_constants(choice.file, {"y_prior": found["y_prior"], "best_known": best})
        print(f"written: {choice.file}")
        return 0
    for each in differences(figures["scores"]):
        print(f"WARNING: {each}", file=sys.stderr)
    return 0


def new(parsed: argparse.Namespace) -> int:
    """Write a plugin to begin with."""
    from bbo_bench import new

    if parsed.kind == "optimizer":
        folder = new.optimizer(parsed.name, parsed.out)
        then = f"bbo-bench check optimizer={parsed.name}"
    else:
        if parsed.data is None:
            raise UsageError("a task needs --data: a CSV file, sequences in FASTA or lines, or a folder of pictures")
        if parsed.score is not None and ":" not in parsed.score:
            raise UsageError(f"expected --score module:function, got {parsed.score}")
        folder = new.task(
            parsed.name,
            parsed.data,
            kind=parsed.designs,
            score=parsed.score,
            objective=parsed.objective,
            constraints=parsed.constraint,
            minimize=parsed.minimize,
            out=parsed.out,
        )
        then = f"bbo-bench prior train task={parsed.name}"
    print(f"written: {folder}\nthen: export BBO_BENCH_PLUGINS={parsed.out.resolve()}; {then}")
    return 0


def set_constants(file: Path, values: Mapping[str, float]) -> None:
    """Put numbers in the place of those that a YAML has on lines of their own."""
    text = file.read_text(encoding="utf-8")
    for key, value in values.items():
        text = re.sub(rf"^{key}:.*$", f"{key}: {value:.4g}", text, flags=re.MULTILINE)
    file.write_text(text, encoding="utf-8")


def tune(parsed: argparse.Namespace) -> int:
    """Search the settings of optimizers over families of tasks."""
    from bbo_bench import tuning

    if parsed.optimizers:
        tuning.tune(
            parsed.optimizers,
            parsed.out,
            tasks=parsed.tasks.split(",") if parsed.tasks else tuning.FAMILIES,
            seeds=[int(seed) for seed in parsed.seeds.split(",")] if parsed.seeds else tuning.SEEDS,
            budget=tuning.BUDGET | ({"rounds": [int(n) for n in parsed.rounds.split(",")]} if parsed.rounds else {}),
            per_setting=parsed.per_setting or tuning.PER_SETTING,
            jobs=parsed.jobs,
            finalists=parsed.finalists,
            of=parsed.of,
        )
    if not (parsed.out / "trials.csv").exists():
        raise UsageError(f"{parsed.out} has no trials.csv; name optimizers to tune")
    print(tuning.summary(parsed.out))
    return 0


def _check_exist(folders: Sequence[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder}")


def _setting(text: str) -> str:
    if not text.startswith("task.") or "=" not in text:
        raise UsageError(f"expected task.KEY=VALUE, got {text}")
    return text.removeprefix("task.")


def make_prior(parsed: argparse.Namespace) -> int:
    """Make a task's prior anew, or only its consistency model."""
    import torch

    from bbo_bench.device import limited_threads, resolve
    from bbo_bench.diffusion.prior import WEIGHTS, read_recipe
    from bbo_bench.diffusion.task import DiffusionTask
    from bbo_bench.diffusion.train import distill_prior, train_prior, weaknesses

    choice = _named(parsed.task if "=" in parsed.task else f"task={parsed.task}")
    task = load_task(choice.name)
    if not isinstance(task, DiffusionTask):
        raise PluginError(f"task {choice.name} has no diffusion prior to train; only a DiffusionTask has")
    command = read_recipe(task.recipe).get("made", {}).get("command", "")
    if parsed.out is None and task.recipe == task.folder and command and not command.endswith(f"task={choice.name}"):
        raise PluginError(
            f"{choice.name} shares the prior in {task.folder}; make that anew by `{command}`, "
            f"or one of {choice.name} alone elsewhere, with --out FOLDER"
        )
    device = resolve(parsed.device).type
    folder = parsed.out or task.folder
    if parsed.action == "distill" and not (folder / WEIGHTS).exists():
        out = ["--out", str(parsed.out)] if parsed.out else []
        command = shlex.join(["bbo-bench", "prior", "train", f"task={choice.name}", *out])
        raise PluginError(f"{folder} has no {WEIGHTS} to distil; make it with `{command}`")
    if parsed.action == "train" and (folder / WEIGHTS).exists() and not parsed.overwrite:
        raise PluginError(
            f"{folder} has a {WEIGHTS} already; replace it with --overwrite, "
            "or make another elsewhere, with --out FOLDER"
        )
    with limited_threads(parsed.threads or torch.get_num_threads()):
        if parsed.action == "train":
            train_prior(task, choice.name, folder, device)
        made = distill_prior(task, choice.name, folder, device)["made"]
        weak = weaknesses(task, made["quality"])
    print(_indented(made), end="")
    for each in weak:
        print(f"WARNING: this prior is weak: its {each}; train it longer, or change its recipe", file=sys.stderr)
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return int(text)


def _named(text: str) -> Choice:
    """The plugin that `task=NAME`, `optimizer=NAME` or a bare `NAME` means."""
    kind, _, name = text.rpartition("=")
    kinds: tuple[Kind, ...] = tuple(each for each in KINDS if kind in ("", each))
    if not kinds:
        raise PluginError(f"expected task=NAME or optimizer=NAME, got {text}")
    found = [known[name] for each in kinds if name in (known := choices(each))]
    if len(found) > 1:
        raise PluginError(f"{name} is both a task and an optimizer; say task={name} or optimizer={name}")
    if len(kinds) == 1:
        return find(kinds[0], name)
    if not found:
        names = [each for kind in kinds for each in choices(kind)]
        raise PluginError(unknown("task or optimizer", name, names))
    return found[0]


def _prior_of(choice: Choice) -> dict[str, object]:
    """How the prior of a task was made, and how good it is; empty where its folder does not say."""
    recipes = sorted(choice.file.parent.glob("**/prior.yaml"))
    made = [yaml.safe_load(recipe.read_text(encoding="utf-8")).get("made", {}) for recipe in recipes]
    own = [each for each in made if each.get("command", "").endswith(f"task={choice.name}")]
    return next(iter(own or made if len(own or made) == 1 else []), {})


def _indented(node: object) -> str:
    lines = yaml.safe_dump(node, sort_keys=False, allow_unicode=True).splitlines()
    return "".join(f"  {line}\n" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bbo-bench", description="Benchmark of online black-box optimization.")
    parser.add_argument("--version", action="version", version=f"bbo-bench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("run", help="run an optimizer on a task, or a sweep (see run --help)", add_help=False)
    command = commands.add_parser("report", help="tables and figures from run folders")
    command.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="results/<name>, or any above runs")
    command.add_argument("--out", type=Path, help="where to write (default: FOLDER/report)")
    command.add_argument("--watch", action="store_true", help="renew report.html until all runs are complete")
    command.set_defaults(command=report)
    command = commands.add_parser("compare", help="optimizers against one of them, or a reproduction against its runs")
    command.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="results/<name>, or any above runs")
    command.add_argument("--against", metavar="OPTIMIZER", help="the one that all others are compared with")
    command.add_argument("--metric", default="score", help="a column of metrics.csv (default: score)")
    command.add_argument("--out", type=Path, help="where to write (default: FOLDER/report)")
    command.add_argument(
        "--reproduction",
        action="store_true",
        help="are two folders of the same runs equal? Exits with 1 where numbers differ or cannot be read; what only "
        "one has, and other settings, are named",
    )
    command.add_argument("--rtol", type=float, default=1e-9, help="relative tolerance of it (default: 1e-9)")
    command.add_argument("--atol", type=float, default=1e-12, help="absolute tolerance of it (default: 1e-12)")
    command.set_defaults(command=compare)
    command = commands.add_parser(
        "status", help="how far runs have come: complete, running, failed, to come, time left"
    )
    command.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="results/<name>, or any above runs")
    command.set_defaults(command=status)
    _add_commands_of_designs(commands)
    _add_commands_of_plugins(commands)
    return parser


def _add_commands_of_designs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("ask", help="a campaign: write the designs of the next round, to be measured by you")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="of the campaign; made where there is none")
    command.add_argument(
        "settings",
        nargs="*",
        metavar="SETTING=VALUE",
        help="of `run`, to begin: task= optimizer= budget.rounds=[..]",
    )
    command.add_argument("--format", help="of the designs: csv, smi, fasta, dat... (default: as before, or csv)")
    command.add_argument("--minimize", action="store_true", help="low scores are good; said when a campaign begins")
    command.set_defaults(command=desk.ask)
    command = commands.add_parser("tell", help="a campaign: take the scores of its round, and say what they show")
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command.add_argument("scores", type=Path, metavar="SCORES.CSV", help="with the columns id and score")
    command.add_argument("--column", help="the heading of the scores (default: score)")
    command.add_argument(
        "--missing", choices=["refuse", "infeasible", "left-out"], default="refuse",
        help="what designs without a score are: a mistake, such as cannot be made, or such as nobody tried",
    )  # fmt: skip
    command.set_defaults(command=desk.tell)
    command = commands.add_parser("score", help="score designs in files: SMILES, FASTA, coordinates, tables, pictures")
    command.add_argument("task", metavar="task=NAME")
    command.add_argument("words", nargs="+", metavar="FILE|task.KEY=VALUE")
    command.add_argument("--column", help="of a table, the heading of the designs")
    command.add_argument("--out", type=Path, metavar="SCORES.CSV", help="write the table too")
    command.add_argument("--unchecked", action="store_true", help="leave the independent check away, which may be slow")
    command.set_defaults(command=desk.score)
    command = commands.add_parser("export", help="write the best designs of a run to files")
    command.add_argument("run", type=Path, metavar="RUN", help="its folder, seed_<n>, or a campaign's")
    command.add_argument("--top", type=_count, default=20, metavar="N", help="how many (default: 20)")
    command.add_argument("--distinct", action="store_true", help="valid ones alone, each far from the better ones")
    command.add_argument("--queried", action="store_true", help="of those queried, by their measured scores")
    command.add_argument("--format", help="csv, npz, png, svg, and the task's own (default: csv, else npz)")
    command.add_argument("--out", type=Path, help="file or folder without its suffix (default: RUN/export)")
    command.set_defaults(command=desk.export)


def _add_commands_of_plugins(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("list", help="tasks and optimizers, a line each, and what those that cannot run need")
    command.set_defaults(command=list_plugins)
    command = commands.add_parser("show", help="the card of a task or an optimizer")
    command.add_argument("plugin", metavar="task=NAME|optimizer=NAME")
    command.set_defaults(command=show)
    command = commands.add_parser("check", help="the conformance suite on a task or an optimizer")
    command.add_argument("plugin", metavar="PLUGIN", help="NAME, task=NAME or optimizer=NAME")
    command.set_defaults(command=check)
    command = commands.add_parser("card", help="measure a task: its scores, the quality of its prior, speed")
    command.add_argument("task", metavar="task=NAME")
    command.add_argument("settings", nargs="*", metavar="task.KEY=VALUE", help="settings other than its YAML's")
    command.add_argument("--write", action="store_true", help="y_prior and best_known into the task's YAML")
    command.set_defaults(command=card)
    command = commands.add_parser("new", help="write a task from a table of designs, or an optimizer, to begin with")
    command.add_argument("kind", choices=KINDS)
    command.add_argument("name", metavar="NAME")
    command.add_argument("--data", type=Path, help="a CSV file, FASTA, lines, or a folder of PNG pictures")
    command.add_argument(
        "--kind",
        dest="designs",
        choices=["vectors", "sequences", "molecules", "images"],
        help="default: by the data",
    )
    source = command.add_mutually_exclusive_group()
    source.add_argument("--score", metavar="MODULE:FUNCTION", help="scores a batch")
    source.add_argument("--external", action="store_true", help="scores are measured elsewhere and told (default)")
    command.add_argument("--objective", metavar="EXPRESSION", help="of the table's columns that are scores, no design")
    command.add_argument("--constraint", action="append", default=[], metavar="EXPRESSION", help="as 'cost <= 400'")
    command.add_argument("--minimize", action="store_true", help="low scores are good")
    command.add_argument("--out", type=Path, default=Path("plugins"), help="the folder of plugins (default: plugins)")
    command.set_defaults(command=new)
    command = commands.add_parser(
        "tune",
        help="search an optimizer's settings over families of tasks; without a name, what has been found",
        description="Trials of the ranges that an optimizer's YAML has under `search`, every one on a task of each "
        "family with seeds that no report uses. It goes on where it was stopped; several processes may share FOLDER.",
    )
    command.add_argument("optimizers", nargs="*", metavar="OPTIMIZER")
    command.add_argument("--out", type=Path, default=Path("results/tuning"), help="default: results/tuning")
    command.add_argument("--tasks", metavar="A,B,...", help="a task of each family (default: four of the suite)")
    command.add_argument(
        "--seeds",
        metavar="A,B,...",
        help="of every trial; two at least show what tuning on the judged task buys (default: 1000,1001)",
    )
    command.add_argument("--rounds", metavar="A,B,...", help="queries per round (default: 96,160)")
    command.add_argument("--per-setting", type=_count, metavar="N", help="trials for every setting (default: 2)")
    command.add_argument(
        "--finalists",
        type=_count,
        default=0,
        metavar="N",
        help="no search: the N best trials of --of once more, by other --rounds",
    )
    command.add_argument(
        "--of", type=Path, default=Path("results/tuning"), metavar="FOLDER", help="of that (default: results/tuning)"
    )
    command.add_argument("--jobs", type=_count, default=1, metavar="N", help="runs side by side (default: 1)")
    command.set_defaults(command=tune)
    command = commands.add_parser("prior", help="make a task's prior anew")
    command.add_argument(
        "action", choices=["train", "distill"], help="prior and consistency model, or the latter alone"
    )
    command.add_argument("task", metavar="task=NAME")
    command.add_argument("--out", type=Path, help="the folder to work in (default: the task's)")
    command.add_argument("--overwrite", action="store_true", help="train even where the folder has weights already")
    command.add_argument("--device", default="cpu", help="auto | cpu | cuda | mps (default: cpu)")
    command.add_argument("--threads", type=_count, metavar="N", help="of a CPU (default: all)")
    command.set_defaults(command=make_prior)
