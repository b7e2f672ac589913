"""Designs in and out of files, in the notation that the people of a task use.

A format maps the bytes of a file to designs, one by one, so that what is wrong with one does not hinder the others. All
tasks have CSV and NPZ; sequences have FASTA and plain lines too; a task adds its own by `Task.formats`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bbo_bench.core import Task
from bbo_bench.domains import Box, Captioned, Sequences
from bbo_bench.plugins import UsageError

NAMES = ("id", "name")
"""Columns of a table that name a design."""
NO_UTF8 = 'is no text in UTF-8; save it as "CSV UTF-8"'
SEMICOLONS = "has semicolons between its columns; save it with commas, and points in its numbers"
"""What is wrong with a table as spreadsheets of some countries write it."""
PICTURES = (".png", ".svg", ".pdf")


class FileError(UsageError):
    """A file cannot be read or written as designs."""


class Entry(NamedTuple):
    """What a file says of one design."""

    name: str
    """As the file has it; empty where it has none."""
    design: Tensor | None
    """Of shape `shape`; None where it is refused."""
    reason: str = ""
    """Why it is refused."""


class Format(NamedTuple):
    """A kind of file. What cannot be done is None."""

    read: Callable[[bytes, str | None], list[Entry]] | None
    """Maps a file's bytes, and the column that is asked for, to its designs; `ValueError` where it is no such file."""
    write: Callable[[Tensor, Sequence[str]], bytes] | None
    """Maps `n x shape` designs with their names to a file's bytes."""
    single: bool = False
    """Whether a file holds one design, and many are a folder."""


class Notation(NamedTuple):
    """How one design is written in a line of text."""

    name: str
    """Its heading in a table."""
    parse: Callable[[str], Tensor]
    """Maps a text to a design; `ValueError` where it is none."""
    text: Callable[[Tensor], list[str]]
    """Maps `n x shape` designs to their texts."""


class Designs(NamedTuple):
    """Designs that have been read."""

    x: Tensor
    """`n x shape`."""
    names: list[str]
    """Of each: as its file has it, or the file's and a number."""
    refused: dict[str, str]
    """By the name of a design that is none of the task's: why."""


def read(task: Task, paths: Sequence[Path], column: str | None = None) -> Designs:
    """The designs in some files, and in the files of some folders; what is wrong is refused one by one.

    Args:
        task: Whose designs they are.
        paths: Files with a suffix that the task knows, and folders, of which other files are left out.
        column: Of a table, where its heading is not the usual one.

    Raises:
        FileError: If a file is missing, of no known kind, or not what its suffix says, or none has a design.
    """
    known = formats(task)
    entries: list[Entry] = []
    for path in _files(task, paths, known):
        found = _entries(path, known[path.suffix.lower()], column)
        alone = len(found) == 1
        entries += [
            each._replace(name=each.name or (path.stem if alone else f"{path.stem} {i}"))
            for i, each in enumerate(found, 1)
        ]
    if not entries:
        raise FileError(f"{', '.join(map(str, paths))}: no design found")
    kept = [each.design for each in entries if each.design is not None]
    refused: dict[str, str] = {}
    for each in entries:
        if each.design is None:
            refused[_fresh(each.name, refused)] = each.reason
    x = torch.stack(kept) if kept else torch.empty(0, *task.domain.shape)
    return Designs(x, [each.name for each in entries if each.design is not None], refused)


def write(task: Task, x: Tensor, names: Sequence[str], path: Path) -> list[Path]:
    """Write `n x shape` designs: into a file, or one file each into the folder of a name like `designs/*.dat`.

    Returns:
        The files.

    Raises:
        FileError: If the suffix is none that the task can write, or many designs are to go into a file of one.
    """
    known = {suffix: each for suffix, each in formats(task).items() if each.write is not None}
    suffix = path.suffix.lower()
    if suffix not in known:
        raise FileError(f"{path}: {_called(task)} are written as {', '.join(sorted(known))}, got {suffix or 'nothing'}")
    made = known[suffix].write
    assert made is not None
    if not known[suffix].single:
        files = {path: made(x, names)}
    elif path.stem == "*":
        files = {
            path.with_name(f"{_file_name(name)}{suffix}"): made(x[i : i + 1], [name]) for i, name in enumerate(names)
        }
    elif len(x) == 1:
        files = {path: made(x, names)}
    else:
        raise FileError(f"a {suffix} file holds one design, got {len(x)}; write to {path.with_name('*' + suffix)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        file.write_bytes(content)
    return list(files)


def texts(task: Task, x: Tensor) -> list[str]:
    """`n x shape` designs as lines of text, or what prompts they are for; empty where a task has no such notation."""
    if isinstance(task.domain, Captioned):
        return [task.domain.prompts[number] for number in task.domain.prompt(x).tolist()]
    notation = task.notation() or _of_tokens(task)
    return [""] * len(x) if notation is None else notation.text(x)


def usual(known: Collection[str]) -> str:
    """Of the suffixes that designs are written as, that of a table, where there is one."""
    return ".csv" if ".csv" in known else ".npz"


def formats(task: Task) -> dict[str, Format]:
    """What a task's designs are read from and written as, by suffix."""
    notation = task.notation() or _of_tokens(task)
    found = {suffix: Format(None, _drawn(task, suffix), single=True) for suffix in PICTURES}
    found[".npz"] = _arrays(task)
    if notation is not None:
        lines, fasta = lines_format(notation), fasta_format(notation)
        found |= {".csv": _words(notation), ".txt": lines, ".fasta": fasta, ".fa": fasta}
    elif isinstance(task.domain, Box):
        found[".csv"] = _numbers(task, task.domain)
    return found | dict(task.formats())


def lines_format(notation: Notation) -> Format:
    """A design per line, with its name after it, if it has one."""
    return Format(_reader(notation), _written_lines(notation))


def fasta_format(notation: Notation) -> Format:
    """FASTA: `>` and a name, then lines of a sequence; without any name, a sequence per line."""

    def written(x: Tensor, names: Sequence[str]) -> bytes:
        return "".join(f">{name}\n{text}\n" for name, text in zip(names, notation.text(x), strict=True)).encode()

    return Format(_reader(notation), written)


def records(content: bytes) -> list[tuple[str, str]]:
    """Names and texts of FASTA; without any `>`, of a text and perhaps a name per line."""
    text = _text(content)
    if text.lstrip().startswith(">"):
        blocks = [block.splitlines() for block in text.lstrip()[1:].split("\n>")]
        return [(head.strip(), "".join("".join(rest).split())) for head, *rest in blocks]
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [("".join(rest).strip(), first) for first, *rest in rows]


def entry(name: str, made: Callable[[], Tensor]) -> Entry:
    """What `made` gives, or why it raises `ValueError`."""
    try:
        return Entry(name, made())
    except ValueError as error:
        return Entry(name, None, str(error))


def _files(task: Task, paths: Sequence[Path], known: Mapping[str, Format]) -> Iterator[Path]:
    readable = sorted(suffix for suffix, each in known.items() if each.read is not None)
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix.lower() in readable)
        elif not path.exists():
            raise FileError(f"there is no file {path}")
        elif path.suffix.lower() not in readable:
            raise FileError(f"{path}: {_called(task)} are read from {', '.join(readable)}")
        else:
            yield path


def _entries(path: Path, form: Format, column: str | None) -> list[Entry]:
    assert form.read is not None
    try:
        return form.read(path.read_bytes(), column)
    except (ValueError, OSError) as error:
        if form.single:
            return [Entry(path.stem, None, str(error))]
        raise FileError(f"{path} is no {path.suffix} file of designs: {error}") from error


def _called(task: Task) -> str:
    return f"designs of {type(task).__name__}"


def _fresh(name: str, taken: Mapping[str, str]) -> str:
    return next(each for i in count(1) if (each := name if i == 1 else f"{name} ({i})") not in taken)


def _file_name(name: str) -> str:
    return "".join(each if each.isalnum() or each in "-_." else "_" for each in name) or "design"


def _text(content: bytes) -> str:
    return content.decode("utf-8-sig").replace("\r\n", "\n")


def _of_tokens(task: Task) -> Notation | None:
    """Sequences as their tokens one after the other, in letters of either case."""
    domain = task.domain
    if not isinstance(domain, Sequences):
        return None
    upper = all(token == token.upper() for token in domain.alphabet)

    def parse(text: str) -> Tensor:
        return domain.parse([text.upper() if upper else text])[0]

    return Notation("sequence", parse, domain.text)


def _parsed(notation: Notation, name: str, text: str) -> Entry:
    return entry(name, lambda: notation.parse(text))


def _reader(notation: Notation) -> Callable[[bytes, str | None], list[Entry]]:
    def read(content: bytes, column: str | None) -> list[Entry]:
        return [_parsed(notation, name, text) for name, text in records(content)]

    return read


def _written_lines(notation: Notation) -> Callable[[Tensor, Sequence[str]], bytes]:
    def write(x: Tensor, names: Sequence[str]) -> bytes:
        return "".join(f"{text} {name}\n" for text, name in zip(notation.text(x), names, strict=True)).encode()

    return write


def _words(notation: Notation) -> Format:
    """A table with a column of texts."""

    def read(content: bytes, column: str | None) -> list[Entry]:
        rows = list(csv.DictReader(io.StringIO(_text(content))))
        key = _heading(list(rows[0]) if rows else [], column or notation.name)
        return [_parsed(notation, _named(row), (row[key] or "").strip()) for row in rows]

    def write(x: Tensor, names: Sequence[str]) -> bytes:
        return _table(["id", notation.name], zip(names, notation.text(x), strict=True))

    return Format(read, write)


def _numbers(task: Task, domain: Box) -> Format:
    """A table with a column per number of a design, by their names or, without a heading, in their order."""
    columns = _columns(task)

    def read(content: bytes, column: str | None) -> list[Entry]:
        rows = list(csv.reader(io.StringIO(_text(content))))
        rows = [row for row in rows if any(cell.strip() for cell in row)]
        if rows and len(rows[0]) == len(columns) and all(_is_number(cell) for cell in rows[0]):
            return [entry("", lambda row=row: _vector(domain, columns, row)) for row in rows]  # type: ignore[misc]
        heading = [cell.strip() for cell in rows[0]] if rows else []
        absent = [each for each in columns if each not in heading]
        if len(heading) == 1 and ";" in heading[0]:
            raise ValueError(f"it {SEMICOLONS}")
        if absent:
            raise ValueError(
                f"expected a heading with {', '.join(columns)}, or rows of {len(columns)} numbers; "
                f"{', '.join(absent[:3])} {'are' if len(absent) > 1 else 'is'} missing"
            )
        found = [dict(zip(heading, row, strict=False)) for row in rows[1:]]
        cells = [[row.get(each, "") for each in columns] for row in found]
        return [
            entry(_named(row), lambda each=each: _vector(domain, columns, each))  # type: ignore[misc]
            for row, each in zip(found, cells, strict=True)
        ]

    def write(x: Tensor, names: Sequence[str]) -> bytes:
        rows = x.flatten(1).tolist()
        return _table(["id", *columns], ([name, *row] for name, row in zip(names, rows, strict=True)))

    return Format(read, write)


def _arrays(task: Task) -> Format:
    """NumPy's archive of an array `x`, `n x shape`, and perhaps one of `names`."""

    def read(content: bytes, column: str | None) -> list[Entry]:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            key = _heading(list(file), column or "x")
            x = torch.as_tensor(file[key])
            names = [str(name) for name in file["names"]] if "names" in file else [""] * len(x)
        if x.shape[1:] != task.domain.shape or len(names) != len(x):
            shape = " x ".join(map(str, ("n", *task.domain.shape)))
            raise ValueError(f"expected {key} of {shape} with as many names, got {tuple(x.shape)}, {len(names)} names")
        x = x.to(task.reference().dtype)
        return [
            entry(name, lambda each=each: task.domain.check(each[None])[0])  # type: ignore[misc]
            for name, each in zip(names, x, strict=True)
        ]

    def write(x: Tensor, names: Sequence[str]) -> bytes:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, x=x.numpy(), names=np.array(names))
        return buffer.getvalue()

    return Format(read, write)


def _drawn(task: Task, suffix: str) -> Callable[[Tensor, Sequence[str]], bytes]:
    """A picture as `Task.render` draws it."""

    def write(x: Tensor, names: Sequence[str]) -> bytes:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4, 4))
        task.render(x[0], figure.add_subplot())
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], bbox_inches="tight", dpi=200)
        return buffer.getvalue()

    return write


def _columns(task: Task) -> list[str]:
    if task.columns:
        return list(task.columns)
    return ["_".join(("x", *map(str, place))) for place in np.ndindex(*task.domain.shape)]


def _vector(domain: Box, columns: Sequence[str], cells: Sequence[str]) -> Tensor:
    for name, cell in zip(columns, cells, strict=True):
        if not _is_number(cell):
            raise ValueError(f"{name} must be a number, got {cell!r}")
    values = torch.tensor([float(cell) for cell in cells], dtype=torch.double)
    x = values.to(domain.lower.dtype).reshape(domain.shape)
    bounds = zip(columns, values.tolist(), x.flatten(), domain.lower.flatten(), domain.upper.flatten(), strict=True)
    for name, value, number, low, high in bounds:
        if not low <= number <= high:
            raise ValueError(f"{name} is {value:.6g}, where {float(low):.6g} to {float(high):.6g} is allowed")
    return x


def _heading(headings: Sequence[str], wanted: str) -> str:
    """The heading that is meant: in any case, or the only one that names no design."""
    alike = [each for each in headings if each.strip().lower() == wanted.lower()]
    others = [each for each in headings if each.strip().lower() not in NAMES]
    found = alike or (others if len(others) == 1 else [])
    if not found:
        raise ValueError(f"expected a column {wanted!r}, got {', '.join(map(repr, headings)) or 'nothing'}")
    return found[0]


def _named(row: Mapping[str, str]) -> str:
    cells = {key.strip().lower(): value for key, value in row.items() if key is not None}
    return next((cells[key].strip() for key in NAMES if cells.get(key)), "")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _table(heading: Sequence[str], rows: Iterator[Sequence[object]] | zip[tuple[str, str]]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return file.getvalue().encode()
