"""`bbo-bench new`: a plugin of one's own that works, a task from a table of designs or an optimizer to begin with."""

from __future__ import annotations

import ast
import os
import re
import string
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from bbo_bench.io import records
from bbo_bench.own import DATA, PADDING
from bbo_bench.plugins import KINDS, VARIABLE, UsageError, choices

Kind = Literal["vectors", "sequences", "molecules", "images"]
HELD_OUT, FEWEST = 0.1, 30
"""Share of the designs that the prior does not see; how many designs there must be."""
SCORED = 200
"""How many designs of the data are scored for the constants of a task, where the data have no scores."""
READ = (".csv", ".fasta", ".fa", ".faa", ".txt", ".smi", ".smiles")
"""Files that designs are read from."""
HEADINGS = ("sequence", "smiles", "design")
"""Columns that hold sequences, if there are several of text."""


class Table(NamedTuple):
    """Designs of one kind."""

    arrays: dict[str, npt.NDArray[Any]]
    """What is kept of them."""
    base: str
    """The class that they are of, with its module."""
    denoiser: dict[str, Any]
    """Of a size that suits them."""


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
    if score:
        _check_importable(score)
    settings: dict[str, Any] = {
        "_target_": f"bbo_bench.tasks.{name}.{class_name(name)}",
        "summary": f"{n} designs of {data.name}" + ("" if score else ", whose scores are told"),
        **constants((-1 if minimize else 1) * y),
        **({"score": {"_target_": score.replace(":", "."), "_partial_": True}} if score else {}),
        **({"sign": -1} if minimize else {}),
        **({"objective": objective} if objective else {}),
        **({"constraints": list(constraints)} if constraints else {}),
    }
    _write_task(folder, table, names, settings, data.name)
    if score and not np.isfinite(y).any():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings | constants(scored(name, out)), sort_keys=False))
    return folder


def _write_task(folder: Path, table: Table, names: list[str], settings: dict[str, Any], source: str) -> None:
    """Write a plugin's files: data, class, settings, recipe and card."""
    name, n = folder.name, len(names)
    held_out = np.zeros(n, dtype=bool)
    held_out[np.random.default_rng(0).permutation(n)[: max(FEWEST // 3, round(HELD_OUT * n))]] = True
    folder.mkdir(parents=True)
    np.savez_compressed(folder / DATA, held_out=held_out, names=np.array(names), **table.arrays)  # type: ignore[arg-type]
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


def read(
    data: Path, kind: Kind | None, objective: str | None, constraints: Sequence[str]
) -> tuple[Table, list[str], npt.NDArray[np.float64]]:
    """The distinct designs of a file or folder, their names, and their scores, NaN where there are none.

    Raises:
        UsageError: If it holds none, or they are of several kinds.
    """
    if not data.exists():
        raise UsageError(f"there is no file {data}")
    if data.is_dir() or kind == "images":
        return _pictures(data)
    molecules = kind == "molecules" or (kind is None and data.suffix.lower() in (".smi", ".smiles"))
    if data.suffix.lower() not in READ:
        raise UsageError(f"{data} is none of {', '.join(READ)}, and no folder of PNG pictures")
    if data.suffix.lower() != ".csv":
        return (_molecules if molecules else _sequences)(*_lines(data), None)
    frame = pd.read_csv(data)
    if len(frame.columns) == 1 and ";" in str(frame.columns[0]):
        raise UsageError(f"{data} has semicolons between its columns; save it with commas, and points in its numbers")
    used = [each for text in (objective, *constraints) if text for each in columns_in(text) if each in frame]
    y = measured(frame, objective, constraints) if objective else np.full(len(frame), np.nan)
    heading = next((each for each in frame if str(each).lower() in ("id", "name")), None)
    names = [""] * len(frame) if heading is None else frame[heading].astype(str).tolist()
    rest = frame.drop(columns=[*used, *([heading] if heading is not None else [])])
    measures = ", ".join(map(str, dict.fromkeys(used))) or "nothing (name it by --objective)"
    print(f"measured: {measures}; design: {', '.join(map(str, rest.columns))}")
    text = [each for each in rest if not pd.api.types.is_numeric_dtype(rest[each])]
    column = next((each for each in text if str(each).lower() in HEADINGS), text[0] if text else None)
    molecules = molecules or (kind is None and str(column).lower() == "smiles")
    if molecules or kind == "sequences" or (kind is None and len(text) == 1 and len(rest.columns) == 1):
        if column is None:
            raise UsageError(f"{data} has no column of text, which sequences are")
        if (empty := int(rest[column].isna().sum())) > 0:
            raise UsageError(f"{data}: {empty} cells of {column} are empty: leave such rows out")
        return (_molecules if molecules else _sequences)(rest[column].astype(str).tolist(), names, y)
    if text:
        raise UsageError(
            f"{data}: {', '.join(map(str, text))} {'are' if len(text) > 1 else 'is'} no numbers, which vectors are of; "
            "leave such columns out, or write numbers for them; sequences need --kind sequences"
        )
    return _vectors(rest, names, y)


def columns_in(expression: str) -> list[str]:
    """The columns that an expression names, in order; a name with blanks stands in backticks.

    Raises:
        UsageError: If it is no expression.
    """
    quoted = re.findall(r"`([^`]+)`", expression)
    text = re.sub(r"`[^`]+`", lambda match: f"_{quoted.index(match[0][1:-1])}_quoted", expression)
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise UsageError(f"{expression!r} is no expression of columns, such as strength - 0.1 * cost") from error
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in called]
    whole = {f"_{i}_quoted": name for i, name in enumerate(quoted)}
    return [whole.get(name, name) for name in dict.fromkeys(names)]


def measured(frame: pd.DataFrame, objective: str, constraints: Sequence[str]) -> npt.NDArray[np.float64]:
    """Scores of the rows of a table by an expression of its columns; −inf where a constraint is not fulfilled.

    Raises:
        UsageError: If an expression is none, or names a column that is not there.
    """
    try:
        y = np.asarray(frame.eval(objective, engine="python"), dtype=float) * np.ones(len(frame))
        for each in constraints:
            known = frame[[name for name in columns_in(each) if name in frame]].notna().all(axis=1).to_numpy()
            y[~known] = np.nan
            y[~np.asarray(frame.eval(each, engine="python"), dtype=bool) & ~np.isnan(y)] = -np.inf
    except Exception as error:
        have = ", ".join(map(str, frame.columns))
        raise UsageError(f"{objective!r} with {list(constraints)} is no expression of {have}: {error}") from error
    return y


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


def _vectors(
    frame: pd.DataFrame, names: list[str], y: npt.NDArray[np.float64]
) -> tuple[Table, list[str], npt.NDArray[np.float64]]:
    x = frame.to_numpy(np.float32)
    if not np.isfinite(x).all():
        lines = 2 + np.flatnonzero((~np.isfinite(x)).any(1))
        raise UsageError(
            f"an empty cell, or no finite number, in lines {', '.join(map(str, lines[:10]))}"
            f"{' and more' if len(lines) > 10 else ''}: leave them out"
        )
    if constant := [str(name) for name, column in frame.items() if column.nunique() < 2]:
        raise UsageError(
            f"{', '.join(constant)}: the same number in all rows, which nothing can be learnt of; leave out"
        )
    rows = np.sort(np.unique(x, axis=0, return_index=True)[1])
    d = x.shape[1]
    gated = {"_target_": "bbo_bench.diffusion.denoisers.GatedMLP", "dim": d, "width": 88, "depth": 2}
    plain = {"_target_": "bbo_bench.diffusion.denoisers.MLP", "dim": d, "width": 64 if d <= 8 else 256, "depth": 3}
    table = Table(
        {"x": x[rows], "columns": np.array(list(map(str, frame)))}, "bbo_bench.own.Vectors", gated if d > 64 else plain
    )
    return table, [names[i] for i in rows], y[rows]


def _sequences(
    texts: list[str], names: list[str], y: npt.NDArray[np.float64] | None
) -> tuple[Table, list[str], npt.NDArray[np.float64]]:
    texts = [text.strip().replace(PADDING, "") for text in texts]  # also of an alignment
    if all(set(text) <= set(string.ascii_letters + "-.*") for text in texts):
        texts = [text.upper() for text in texts]
    y = np.full(len(texts), np.nan) if y is None else y
    first = {text: i for i, text in reversed(list(enumerate(texts))) if text}
    rows = sorted(first.values())
    table = _tokenized([list(texts[i]) for i in rows], PADDING, "bbo_bench.own.Tokens")
    return table, [names[i] for i in rows], y[rows]


def _molecules(
    texts: list[str], names: list[str], y: npt.NDArray[np.float64] | None
) -> tuple[Table, list[str], npt.NDArray[np.float64]]:
    """Of SMILES; what is none, or several in one, is left out, and said."""
    try:
        from bbo_bench import molecules
    except ImportError as error:
        raise UsageError('molecules need RDKit and SELFIES: pip install "bbo-bench[molecule]"') from error
    y = np.full(len(texts), np.nan) if y is None else y
    found: dict[str, tuple[int, list[str]]] = {}
    for i, text in enumerate(texts):
        try:
            name, tokens = molecules.tokens(text)
        except ValueError as error:
            print(f"left out: {names[i] or text}: {error}", file=sys.stderr)
        else:
            found.setdefault(name, (i, tokens))
    rows = [i for i, _ in found.values()]
    table = _tokenized([tokens for _, tokens in found.values()], molecules.PADDING, "bbo_bench.molecules.Molecules")
    return table, [names[i] for i in rows], y[rows]


def _tokenized(sequences: list[list[str]], padding: str, base: str) -> Table:
    """Sequences of tokens, filled up to the longest where they differ in length."""
    length = max(map(len, sequences), default=0)
    letters = sorted({token for each in sequences for token in each} - {padding})
    varied = any(len(each) < length or padding in each for each in sequences)
    alphabet = [*letters, *([padding] if varied else [])]
    if len(alphabet) < 2:
        raise UsageError(f"expected sequences of two letters at least, got {', '.join(alphabet) or 'none'}")
    number = {token: i for i, token in enumerate(alphabet)}
    filled = [[*each, *[padding] * (length - len(each))] for each in sequences]
    x = np.array([[number[token] for token in each] for each in filled], dtype=np.uint8)
    size = {"length": length, "tokens": len(alphabet)}
    short = {"_target_": "bbo_bench.diffusion.denoisers.Convolution", **size, "width": 64, "depth": 3, "kernel": 5}
    long = {"_target_": "bbo_bench.diffusion.denoisers.SequenceMLP", **size, "width": 240, "depth": 2}
    return Table({"x": x, "alphabet": np.array(alphabet)}, base, short if length <= 24 else long)


def _lines(data: Path) -> tuple[list[str], list[str]]:
    """Sequences of FASTA, or a line each, with their names."""
    try:
        found = records(data.read_bytes())
    except UnicodeDecodeError as error:
        raise UsageError(f"{data} is no text: {error}") from error
    return [text for _, text in found], [name for name, _ in found]


def _pictures(data: Path) -> tuple[Table, list[str], npt.NDArray[np.float64]]:
    from PIL import Image

    files = sorted(data.glob("*.png")) if data.is_dir() else []
    if not files:
        raise UsageError(f"{data} is no folder of PNG pictures")
    levels = [np.asarray(Image.open(file).convert("L")) for file in files]
    shapes = sorted({each.shape for each in levels})
    if len(shapes) > 1 or any(side % 4 for side in shapes[0]):
        raise UsageError(f"expected pictures of one size, whose sides four divides, got {shapes[:3]}")
    rows = np.sort(np.unique(np.stack(levels).reshape(len(levels), -1), axis=0, return_index=True)[1])
    high, wide = shapes[0]
    network = {
        "_target_": "bbo_bench.diffusion.denoisers.UNet",
        "patch": 2,
        "sample_size": [high // 2, wide // 2],
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 1,
        "block_out_channels": [24, 48],
        "down_block_types": ["DownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "UpBlock2D"],
        "norm_num_groups": 8,
        "attention_head_dim": 16,
    }
    table = Table({"x": np.stack(levels)[rows][:, None]}, "bbo_bench.own.Pictures", network)
    return table, [files[i].stem for i in rows], np.full(len(rows), np.nan)


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

`y_prior` and `best_known` in `$name.yaml` are the mean and the best of the data, until they have been measured.
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
        best = self.to_vectors(self.recommend(n))
        noise = randn(best.shape, generator=self.rng, device=self.rng.device, dtype=best.dtype)
        return self.to_designs(best + self.step * noise)
'''
NOTE = """# $name

The best designs, and a step away from them: what it does, its source, where it differs from that, its settings.
"""
