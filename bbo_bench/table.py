"""Tables of designs of one's own: vectors, sequences, molecules or pictures, and what was measured of them."""

from __future__ import annotations

import ast
import re
import string
import sys
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from bbo_bench.io import NO_UTF8, SEMICOLONS, records
from bbo_bench.own import PADDING
from bbo_bench.plugins import UsageError

Kind = Literal["vectors", "sequences", "molecules", "images"]
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
    noise_std: float | None = None
    """Standard deviation of scores of one design, by designs that were measured several times; None without any."""


def read(
    data: Path, kind: Kind | None, objective: str | None, constraints: Sequence[str]
) -> tuple[Table, list[str], npt.NDArray[np.float64]]:
    """The distinct designs of a file or folder, their names, and their scores, NaN where there are none.

    The score of a design that was measured several times is the mean.

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
    frame = read_csv(data)
    if frame.empty:
        raise UsageError(f"{data} has a heading, {', '.join(map(str, frame.columns))}, and no rows")
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
            f"{data}: {', '.join(map(str, text))} {'are' if len(text) > 1 else 'is'} no numbers, which vectors are of "
            f"({_no_number(rest[text[0]])}); leave such columns out, or write numbers for them; sequences need --kind "
            "sequences"
        )
    return _vectors(rest, names, y)


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """A table, by pandas with these options.

    Raises:
        UsageError: If it is none, or has semicolons between its columns.
    """
    try:
        frame: pd.DataFrame = pd.read_csv(path, **options)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise UsageError(f"{path} is no table: {str(error).strip()}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} {NO_UTF8}") from error
    if len(frame.columns) == 1 and ";" in str(frame.columns[0]):
        raise UsageError(f"{path} {SEMICOLONS}")
    return frame


def pooled(
    y: npt.NDArray[np.float64], keys: Iterable[Hashable | None]
) -> tuple[list[int], npt.NDArray[np.float64], float | None]:
    """Designs that several rows have, as one.

    Args:
        y: `n` scores.
        keys: What is the same for the same design; None for a row that is none.

    Returns:
        The first row of each design; the means of their scores, of those that are finite where some are; and the
        standard deviation of one design's scores, pooled over those that have several; None without any.
    """
    groups: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        if key is not None:
            groups.setdefault(key, []).append(i)
    scores = [y[rows][np.isfinite(y[rows])] for rows in groups.values()]
    first = [rows[0] for rows in groups.values()]
    means = np.array([each.mean() if len(each) else y[i] for each, i in zip(scores, first, strict=True)])
    free = sum(max(len(each) - 1, 0) for each in scores)
    spread = sum(float(((each - each.mean()) ** 2).sum()) for each in scores if len(each))
    return first, means, (spread / free) ** 0.5 if free else None


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
        for name in columns_in(objective):
            if name in frame and not pd.api.types.is_numeric_dtype(frame[name]):
                wrong = _no_number(frame[name])
                raise UsageError(f"{name} is no column of numbers, which scores are of: {wrong}") from error
        have = ", ".join(map(str, frame.columns))
        raise UsageError(f"{' with '.join([objective, *constraints])} is no expression of {have}: {error}") from error
    return y


def _no_number(column: pd.Series[Any]) -> str:
    """The first cell of a table's column that is no number, and its line."""
    wrong = column.notna() & pd.to_numeric(column, errors="coerce").isna()
    row = int(wrong.to_numpy().argmax())
    return f"line {row + 2} has {column.iloc[row]!r}"


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
    rows, y, noise_std = pooled(y, (row.tobytes() for row in x + 0.0))  # no negative zeros
    d = x.shape[1]
    gated = {"_target_": "bbo_bench.diffusion.denoisers.GatedMLP", "dim": d, "width": 88, "depth": 2}
    plain = {"_target_": "bbo_bench.diffusion.denoisers.MLP", "dim": d, "width": 64 if d <= 8 else 256, "depth": 3}
    table = Table(
        {"x": x[rows], "columns": np.array(list(map(str, frame)))},
        "bbo_bench.own.Vectors",
        gated if d > 64 else plain,
        noise_std,
    )
    return table, [names[i] for i in rows], y


def _sequences(
    texts: list[str], names: list[str], y: npt.NDArray[np.float64] | None
) -> tuple[Table, list[str], npt.NDArray[np.float64]]:
    texts = [text.strip().replace(PADDING, "") for text in texts]  # also of an alignment
    if all(set(text) <= set(string.ascii_letters + "-.*") for text in texts):
        texts = [text.upper() for text in texts]
    y = np.full(len(texts), np.nan) if y is None else y
    rows, y, noise_std = pooled(y, (text or None for text in texts))
    table = _tokenized([list(texts[i]) for i in rows], PADDING, "bbo_bench.own.Tokens")
    return table._replace(noise_std=noise_std), [names[i] for i in rows], y


def _molecules(
    texts: list[str], names: list[str], y: npt.NDArray[np.float64] | None
) -> tuple[Table, list[str], npt.NDArray[np.float64]]:
    """Of SMILES; what is none, or several in one, is left out, and said."""
    try:
        from bbo_bench import smiles
    except ImportError as error:
        raise UsageError('molecules need RDKit and SELFIES: pip install "bbo-bench[molecule]"') from error
    y = np.full(len(texts), np.nan) if y is None else y
    found: list[tuple[str | None, list[str]]] = []
    for i, text in enumerate(texts):
        try:
            found.append(smiles.tokens(text))
        except ValueError as error:
            print(f"left out: {names[i] or text}: {error}", file=sys.stderr)
            found.append((None, []))
    rows, y, noise_std = pooled(y, (name for name, _ in found))
    table = _tokenized([found[i][1] for i in rows], smiles.PADDING, "bbo_bench.molecules.Molecules")
    return table._replace(noise_std=noise_std), [names[i] for i in rows], y


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
