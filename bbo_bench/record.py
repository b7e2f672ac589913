"""A run's folder. A round is the transaction: it is committed whole or not at all.

Files are written aside and renamed, the state last. The state holds length and digest of the ledger and the metrics at
its round, and a digest of the designs, so that a kill between two files costs the round and nothing else, and damage is
noticed. Its own digest is the first line of its file, as torch does not notice a flipped bit.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import yaml
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from bbo_bench.core import State
from bbo_bench.lease import Lease, LeaseLost

Rows = Sequence[Mapping[str, Any]]
LOGS = ("ledger.csv", "metrics.csv")
DESIGNS = {"designs.npz": ("queried",), "recommended.npz": ("recommended", "held_out")}
"""Files of designs, and which: those recommended are few, and are what a run is judged by."""
ASKED = "asked.npz"
"""Designs that wait for their scores, where these come from elsewhere."""
FINAL = "final.pt"
"""The state of a complete run, from which one with more rounds goes on."""
ROUNDS = "budget.rounds"
DAMAGED = "move the folder away to start the run anew"


class RecordError(RuntimeError):
    """A run's folder cannot be used: another configuration, a damaged file, or another process at work on it."""


class Round(NamedTuple):
    """What one round adds to a run's folder."""

    ledger: Rows
    """A row per query."""
    metrics: Mapping[str, Any]
    """The round's row of metrics; NaN is written as an empty cell."""
    designs: Mapping[str, NDArray[Any]]
    """Those `queried` and, if it is evaluated, those `recommended`, and `held_out` for prompts never asked for."""
    seconds: Mapping[str, float]
    """Seconds spent in each phase."""


class Record:
    """The folder of one run, locked while it is open.

    Args:
        folder: `results/<experiment>/<task>/<optimizer>/seed_<n>`; made where it is missing.
        config: The run's resolved configuration.

    Raises:
        RecordError: On entry, if the folder holds another configuration or a damaged file, or is in use.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.state: State | None = None
        self.rounds = 0
        self.complete = False
        self._logs = dict.fromkeys(LOGS, "")
        self._designs: dict[str, dict[str, NDArray[Any]]] = {file: {} for file in DESIGNS}
        self.provenance: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Lock the folder, and take up what has been committed."""
        self._lock, self._lease = FileLock(self.folder / ".lock"), Lease(self.folder)
        try:
            self._claim()
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unlock the folder."""
        self._close()

    @property
    def _other(self) -> str:
        """Where another run would go: a campaign is given its folder, a run a name."""
        return "another folder" if self.config.get("scores") == "told" else "another name="

    def _claim(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._lease.take()
        except Timeout:
            raise RecordError(f"{self.folder} is in use by another process; wait, or choose {self._other}") from None
        except LeaseLost as error:
            raise RecordError(f"{error}; wait, or choose {self._other}") from error
        except OSError as error:
            raise RecordError(f"{self.folder} cannot be written ({error}); choose another results=") from error

    def _close(self) -> None:
        self._lease.release()
        self._lock.release()

    def commit(self, entry: Round, state: State, provenance: Mapping[str, Any], *, last: bool) -> None:
        """Add a round; when it is the `last`, the run is complete.

        Raises:
            OSError: If a file cannot be written; the rounds before stay, and the run can be resumed.
            LeaseLost: If another machine has taken the folder over; nothing is written then.
            RecordError: If the round's metrics have other columns than those before, or the state holds what could not
                be loaded back; nothing is written then.
        """
        self._lease.check()
        if not self.rounds:
            _check_state(state)
        for name, rows in zip(LOGS, (entry.ledger, [entry.metrics]), strict=True):
            self._logs[name] += _csv(rows, self._logs[name], self.folder / name)
        for file, kinds in DESIGNS.items():
            for which in kinds:
                if which in entry.designs:
                    self._designs[file][f"{which}_{self.rounds}"] = entry.designs[which]
        self.rounds += 1
        seconds = [*self.provenance.get("seconds", []), dict(entry.seconds)]
        self.provenance = {**provenance, "seconds": seconds, "complete": last}
        for name, text in self._logs.items():
            _write(self.folder / name, text.encode())
        designs = {name: arrays for name, arrays in self._designs.items() if arrays}
        for name, arrays in designs.items():
            _write(self.folder / name, _npz(arrays))
        marks = {name: [len(text), _sha256(text.encode())] for name, text in self._logs.items()}
        whole = {
            "round": self.rounds,
            "logs": marks,
            "designs": {name: _digest_of(arrays) for name, arrays in designs.items()},
            "provenance": self.provenance,
            "optimizer": state,
        }
        content = _saved(whole)
        _write(self.folder / (FINAL if last else "state.pt"), _sha256(content).encode() + b"\n" + content)
        if last:
            self.provenance["files"] = {name: _digest(self.folder / name) for name in ("config.yaml", *LOGS, *designs)}
        _write(self.folder / "provenance.json", json.dumps(self.provenance, indent=1).encode())
        (self.folder / ASKED).unlink(missing_ok=True)
        if last:
            (self.folder / "state.pt").unlink(missing_ok=True)
            self.complete = True

    def history(self) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """All queried designs so far, and their true scores."""
        x = np.concatenate([self._designs["designs.npz"][f"queried_{i}"] for i in range(self.rounds)])
        return x, np.array(self.column("ledger.csv", "true"))

    def column(self, log: str, name: str) -> list[float]:
        """A column of one of the `LOGS`, NaN where a cell is empty; empty where it has no such column."""
        rows = csv.DictReader(io.StringIO(self._logs[log]))
        return [float(row[name] or "nan") for row in rows if name in row]

    def counts(self) -> tuple[int, ...]:
        """How many designs each committed round has."""
        return tuple(len(self._designs["designs.npz"][f"queried_{i}"]) for i in range(self.rounds))

    def keep(self, x: NDArray[Any]) -> None:
        """Keep the designs that have been asked for in the next round, until it is committed."""
        _write(self.folder / ASKED, _npz({f"queried_{self.rounds}": x}))

    def kept(self) -> NDArray[Any] | None:
        """The designs that have been asked for in the next round; None before that.

        Raises:
            RecordError: If they cannot be read.
        """
        path = self.folder / ASKED
        found = _load(path, lambda file: dict(np.load(file))) if path.exists() else {}
        return found.get(f"queried_{self.rounds}")

    def fail(self, error: BaseException) -> None:
        """Mark the run as failed, with its reason; the committed rounds stay, and the run can be resumed."""
        _write(self.folder / "error.txt", "".join(traceback.format_exception(error)).encode())

    def _open(self) -> None:
        longer = self._check_config()
        (self.folder / "error.txt").unlink(missing_ok=True)
        provenance, whole = self.folder / "provenance.json", False
        if provenance.exists():
            self.provenance, whole, files = _load(provenance, _read_provenance)
        if whole:
            check_files(self.folder, files)
            (self.folder / "state.pt").unlink(missing_ok=True)
        if whole and longer:
            self._extend()
        elif whole:
            self.complete = True
        elif (self.folder / "state.pt").exists():
            self._resume("state.pt")
        else:
            self.provenance = {}
        if longer:
            _write(self.folder / "config.yaml", _text(self.config))

    def _extend(self) -> None:
        """Go on with a complete run."""
        if not (self.folder / FINAL).exists():
            raise RecordError(
                f"{self.folder} holds a complete run of fewer rounds, but not its {FINAL}, from which it could go on; "
                f"choose {self._other}"
            )
        self._resume(FINAL)
        content = (self.folder / FINAL).read_bytes()
        _write(self.folder / "state.pt", content)  # which says from now on that the run is not complete
        self.provenance["complete"] = False
        _write(self.folder / "provenance.json", json.dumps(self.provenance, indent=1).encode())

    def _check_config(self) -> bool:
        """Whether the folder's run is to have more rounds than it was to have.

        Raises:
            RecordError: If the folder holds a run of another configuration, but for rounds to come.
        """
        path = self.folder / "config.yaml"
        committed = any((self.folder / name).exists() for name in ("state.pt", "provenance.json"))
        data = [name for name in (*LOGS, *DESIGNS, ASKED) if (self.folder / name).exists()]
        if data and not committed and not path.exists():
            raise RecordError(
                f"{self.folder} holds {', '.join(data)}, but no run that they belong to; "
                f"choose {self._other}, or move the folder away"
            )
        if not (committed or data):
            _write(path, _text(self.config))
            return False
        before = _load(path, lambda file: _flat(yaml.safe_load(file.read_text(encoding="utf-8"))))
        now = _flat(self.config)
        old, new = before.get(ROUNDS), now.get(ROUNDS)
        longer = isinstance(old, list) and isinstance(new, list) and len(new) > len(old) and new[: len(old)] == old
        if longer:
            before[ROUNDS] = new
        changed = [
            f"{key}: {before.get(key, 'absent')} there, {now.get(key, 'absent')} now"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]
        if changed:
            raise RecordError(
                f"{self.folder} holds a run of another configuration ({'; '.join(changed)}); "
                f"choose {self._other}, or move the folder away"
            )
        rounds = (self.folder / "metrics.csv").read_bytes().count(b"\n") - 1 if "metrics.csv" in data else 0
        if rounds > 1 and not committed:
            raise RecordError(
                f"{self.folder} holds {rounds} rounds, but neither provenance.json nor state.pt, without which nobody "
                "knows whether they are whole; move the folder away to start the run anew"
            )
        return longer

    def _resume(self, saved: str) -> None:
        whole = _load(self.folder / saved, _read_state)
        for name, (length, digest) in whole["logs"].items():
            text = _load(self.folder / name, lambda path: path.read_text(encoding="utf-8"))[:length]
            if _sha256(text.encode()) != digest:
                raise RecordError(f"{self.folder / name} is damaged; {DAMAGED}")
            self._logs[name] = text
        for name, digest in whole["designs"].items():
            arrays = _load(self.folder / name, lambda path: dict(np.load(path)))
            before = {key: x for key, x in arrays.items() if int(key.rpartition("_")[2]) < whole["round"]}
            if _digest_of(before) != digest:
                raise RecordError(f"{self.folder / name} is damaged; {DAMAGED}")
            self._designs[name] = before
        self.rounds, self.state, self.provenance = whole["round"], whole["optimizer"], whole["provenance"]


def check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Raise `RecordError` unless the files of a complete run are as they were written."""
    for name, digest in digests.items():
        if not (folder / name).exists():
            raise RecordError(f"{folder / name} is missing; {DAMAGED}")
        if _digest(folder / name) != digest:
            raise RecordError(f"{folder / name} is not as it was written; {DAMAGED}")


def _text(config: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(config), sort_keys=False).encode()


def _saved(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _check_state(state: object, path: str = "state_dict()") -> None:
    """Raise `RecordError` where a state holds what could not be loaded back without running code; names it."""
    try:
        torch.load(io.BytesIO(_saved(state)), weights_only=True)
    except Exception:
        items = enumerate(state) if isinstance(state, list | tuple) else ()
        for key, part in state.items() if isinstance(state, dict) else items:
            _check_state(part, f"{path}[{key!r}]")
        raise RecordError(
            f"{path} is a {type(state).__module__}.{type(state).__qualname__}, from which no run could "
            "be resumed; give tensors, numbers and strings, in dicts and lists"
        ) from None


def _write(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        safe = "the rounds committed before are safe, and the same command goes on from there"
        why = f"{error.strerror}; {safe if path.parent.exists() else 'the folder of the run has been removed'}"
        raise OSError(error.errno, why, str(path)) from error


def _sync(folder: Path) -> None:
    """Make renames in a folder outlast a loss of power, where its system has a way to."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_provenance(path: Path) -> tuple[dict[str, Any], bool, dict[str, str]]:
    facts = json.loads(path.read_text(encoding="utf-8"))
    return facts, facts["complete"], facts["files"] if facts["complete"] else {}


def _read_state(path: Path) -> dict[str, Any]:
    digest, _, content = path.read_bytes().partition(b"\n")
    if _sha256(content).encode() != digest:
        raise ValueError("its digest differs")
    whole: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return whole


def _load(path: Path, read: Any) -> Any:
    try:
        return read(path)
    except Exception as error:
        raise RecordError(f"{path} cannot be read ({type(error).__name__}: {error}); {DAMAGED}") from error


def _csv(rows: Rows, before: str, path: Path) -> str:
    """The lines that `rows` add to what was `before`."""
    if not rows:
        return ""
    header = ",".join(rows[0])
    if before and header != (expected := before.partition("\n")[0]):
        raise RecordError(
            f"{path} has the columns {expected}, but this round gave {header}; "
            "an optimizer's diagnostics must have the same keys after every round"
        )
    lines = [] if before else [header]
    lines += [",".join(_cell(value) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else repr(value)
    return str(int(value))


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _digest_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Of names, types, shapes and numbers, whatever their file's compression."""
    about = [(key, x.dtype.str, x.shape, _sha256(x.tobytes())) for key, x in sorted(arrays.items())]
    return _sha256(json.dumps(about).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(path: Path) -> str:
    return _sha256(path.read_bytes())
