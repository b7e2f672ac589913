"""`bbo-bench new`: a plugin of one's own that works, a task from a table of designs or an optimizer to begin with."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from bbo_bench.own import DATA
from bbo_bench.plugins import KINDS, VARIABLE, UsageError, choices
from bbo_bench.table import Kind, Table, read

HELD_OUT, FEWEST = 0.1, 30
"""Share of the designs that the prior does not see; how many designs there must be."""
SCORED = 200
"""How many designs of the data are scored for the constants of a task, where the data have no scores."""


def task(
    name: str,
    data: Path,
    *,
    kind: Kind | None = None,
    score: str | None = None,
    objective: str | None = None,
    constraints: Sequence[str] = (),
    minimize: bool = False,
    out: Path = Path("plugins"),
) -> Path:
    """Write a task whose designs are like those of a table.

    Args:
        name: A word in lower case.
        data: A CSV file, FASTA or lines of sequences, or a folder of PNG pictures of one size.
        kind: Of the designs; None goes by the data.
        score: `module:function` that scores a batch of designs; None where scores are measured and told.
        objective: A column of the table that is a score and no part of a design, or an expression of such columns.
        constraints: Expressions of such columns that a feasible design fulfils.
        minimize: Whether low scores are good.
        out: The folder of plugins.

    Returns:
        The plugin's folder.

    Raises:
        UsageError: If the name is taken, or the data are no designs of one kind.
    """
    folder = place(name, "task", out)
    table, names, y = read(data, kind, objective, constraints)
    n = len(names)
    if n < FEWEST:
        raise UsageError(f"{data} has {n} distinct designs; a prior needs {FEWEST}, and hundreds to be a good one")
    if score and constraints:
        raise UsageError(
            f"{score} says itself which designs are infeasible, by NaN: leave --constraint away, and out of the data "
            "what it measures"
        )
    if score:
        _check_importable(score)
    settings: dict[str, Any] = {
        "_target_": f"bbo_bench.tasks.{name}.{class_name(name)}",
        "summary": f"{n} designs of {data.name}" + ("" if score else ", whose scores are told"),
        **constants((-1 if minimize else 1) * y),
        **({} if table.noise_std is None else {"noise_std": None}),
        **({"score": {"_target_": score.replace(":", "."), "_partial_": True}} if score else {}),
        **({"sign": -1} if minimize else {}),
        **({"objective": objective} if objective else {}),
        **({"constraints": list(constraints)} if constraints else {}),
    }
    _write_task(folder, table, names, settings, data.name)
    if score and not np.isfinite(y).any():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings | constants(scored(name, out)), sort_keys=False))
    if table.noise_std is not None:
        print(f"noise of a score, by designs that were measured several times: {table.noise_std:.3g}")
    return folder


def _write_task(folder: Path, table: Table, names: list[str], settings: dict[str, Any], source: str) -> None:
    """Write a plugin's files: data, class, settings, recipe and card."""
    name, n = folder.name, len(names)
    held_out = np.zeros(n, dtype=bool)
    held_out[np.random.default_rng(0).permutation(n)[: max(FEWEST // 3, round(HELD_OUT * n))]] = True
    folder.mkdir(parents=True)
    noise = {} if table.noise_std is None else {"noise_std": np.array(table.noise_std)}
    np.savez_compressed(folder / DATA, held_out=held_out, names=np.array(names), **noise, **table.arrays)  # type: ignore[arg-type]
    module, base = table.base.rsplit(".", 1)
    write(folder / "__init__.py", CODE, name=name, kind=class_name(name), module=module, base=base, n=n, source=source)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (folder / "prior.yaml").write_text(yaml.safe_dump(recipe(table, n), sort_keys=False))
    root = folder.parents[1]
    where = root if root.is_absolute() else f"$PWD/{root}"
    told = f"bbo-bench ask campaign task={name} optimizer=sqdf 'budget.rounds=[12,12,12]'"
    after = f"bbo-bench card task={name} --write" if "score" in settings else told
    write(folder / "README.md", CARD, name=name, n=n, source=source, held=int(held_out.sum()), where=where, after=after)


def _check_importable(score: str) -> None:
    module, _, function = score.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{score} cannot be imported: {error}; the module must lie in the current folder or be installed"
        ) from error
    if not callable(found):
        raise UsageError(f"{score} is no function")


def scored(name: str, out: Path) -> npt.NDArray[np.float64]:
    """True scores of some of the data of a task that has just been written."""
    from bbo_bench.library import load_task

    with on_path(out):
        own = load_task(name)
    y: npt.NDArray[np.float64] = own.evaluate(own.catalogue()[0][:SCORED]).numpy()
    return y


@contextmanager
def on_path(out: Path) -> Iterator[None]:
    """Have plugins of a folder found."""
    import bbo_bench.tasks

    before, path = os.environ.get(VARIABLE), str(out.resolve())
    os.environ[VARIABLE] = os.pathsep.join([path, *([before] if before else [])])
    packages = bbo_bench.tasks.__path__
    bbo_bench.tasks.__path__ = [*packages, str(out.resolve() / "tasks")]
    try:
        yield
    finally:
        bbo_bench.tasks.__path__ = packages
        os.environ.pop(VARIABLE) if before is None else os.environ.update({VARIABLE: before})


def optimizer(name: str, out: Path = Path("plugins")) -> Path:
    """Write an optimizer to begin with: it mutates the best designs.

    Returns:
        The plugin's folder.

    Raises:
        UsageError: If the name is taken.
    """
    folder = place(name, "optimizer", out)
    folder.mkdir(parents=True)
    write(folder / "__init__.py", METHOD, name=name, kind=class_name(name))
    target = {
        "_target_": f"bbo_bench.optimizers.{name}.{class_name(name)}",
        "summary": "the best designs, and a step away",
    }
    search = {"search": {"step": ["log", 0.01, 1.0]}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({**target, "step": 0.1, **search}, sort_keys=False))
    write(folder / "README.md", NOTE, name=name)
    return folder


def constants(y: npt.NDArray[np.float64]) -> dict[str, Any]:
    """A task's constants as the data have them, until `bbo-bench card --write` measures them of the prior's samples."""
    finite = y[np.isfinite(y)]
    if not len(finite):
        return dict.fromkeys(("noise_std", "y_prior", "best_known", "infeasible_score"), 0.0)
    found = {"y_prior": finite.mean(), "best_known": finite.max(), "infeasible_score": finite.min()}
    return {"noise_std": 0.0, **{key: float(f"{value:.4g}") for key, value in found.items()}}


def recipe(table: Table, n: int) -> dict[str, Any]:
    """How the prior is trained."""
    return {
        "seed": 0,
        "denoiser": table.denoiser,
        "scheduler": {
            "num_train_timesteps": 1000,
            "beta_schedule": "squaredcos_cap_v2",
            "prediction_type": "v_prediction",
        },
        "sampler": {"steps": 50, "eta": 1.0, "min_std": 0.01},
        "training": {
            "steps": 4000,
            "batch_size": 256 if not table.base.endswith("Pictures") else 64,
            "learning_rate": 0.001,
            "weight_decay": 0.0001,
            "ema_decay": 0.999,
            "jitter": 0.1 if table.base.endswith("Vectors") and n < 2000 else 0.0,
        },
        "consistency": {"steps": 50, "passes": 40, "trajectories": 256, "learning_rate": 0.001},
    }


def place(name: str, kind: str, out: Path) -> Path:
    """The folder of a new plugin, in one that holds plugins.

    Raises:
        UsageError: If a plugin cannot have the name, or another has it.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"a plugin's name is a word like my_{kind}, in lower case, got {name!r}")
    folder = out / f"{kind}s" / name
    folder.parent.mkdir(parents=True, exist_ok=True)  # that $BBO_BENCH_PLUGINS may name
    if folder.exists():
        raise UsageError(f"{folder} is there already; remove it, or choose another name")
    for each in KINDS:
        if name in choices(each):
            raise UsageError(
                f"there is {'an' if each == 'optimizer' else 'a'} {each} {name} already; choose another name"
            )
    return folder


def class_name(name: str) -> str:
    """The name of a class for a plugin's."""
    return "".join(part.capitalize() for part in name.split("_"))


def write(path: Path, template: str, **values: object) -> None:
    """Write a template with its places filled."""
    path.write_text(string.Template(template).substitute(values))


CODE = '''"""$name: designs like those of $source."""

from $module import $base


class $kind($base):
    """The $n designs of `data.npz`. `valid`, `faults`, `features`, `render` and others can be said otherwise here."""
'''
CARD = """# $name

$n designs of `$source`, of which $held are held out. Made by `bbo-bench new task`.

```sh
export BBO_BENCH_PLUGINS=$where
bbo-bench prior train task=$name
bbo-bench check task=$name
$after
```

`y_prior` and `best_known` in `$name.yaml` are the mean and the best of the data, until they have been measured, and 0
where the data have no scores. `noise_std` is that of designs which were measured several times (`null`), or 0. A
campaign uses none of them.
"""
METHOD = '''"""$name: the best designs, and a step away from them."""

from torch import Generator, Tensor, randn

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem


class $kind(ArchiveOptimizer):
    """Asks for the best designs so far, moved by normal steps.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        step: Standard deviation of the steps, in widths of the box.
    """

    def __init__(self, problem: Problem, rng: Generator, step: float) -> None:
        super().__init__(problem, rng)
        self.step = step

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        best = self.to_vectors(self.top(n))
        noise = randn(best.shape, generator=self.rng, device=self.rng.device, dtype=best.dtype)
        return self.to_designs(best + self.step * noise)
'''
NOTE = """# $name

The best designs, and a step away from them: what it does, its source, where it differs from that, its settings.
"""
