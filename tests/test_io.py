"""Designs in and out of files."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from bbo_bench import load_task
from bbo_bench.core import Task
from bbo_bench.domains import Sequences
from bbo_bench.io import PICTURES, FileError, formats, read, texts, usual, write
from bbo_bench.plugins import choices
from bbo_bench.testing import Probe, PromptedProbe

task_named: Callable[[str], Task] = cache(load_task)
INSTALLED = [name for name in ("airfoil", "ehrlich_32", "hartmann_6", "image_compress", "molecule_qed", "nav1d_partial",
                               "peptide_mhc", "rna", "tfbind8") if not choices("task")[name].missing]  # fmt: skip
ROUND_TRIPS = [
    pytest.param(name, suffix, id=f"{name}{suffix}")
    for name in INSTALLED
    for suffix, form in formats(task_named(name)).items()
    if form.read is not None and form.write is not None
]


@pytest.mark.parametrize(("name", "suffix"), ROUND_TRIPS)
def test_what_is_written_is_read_again(name: str, suffix: str, tmp_path: Path) -> None:
    task = task_named(name)
    single = formats(task)[suffix].single
    x, names = task.reference()[:3], ["a", "b-2", "c d"]
    files = write(task, x, names, tmp_path / f"{'*' if single else 'all'}{suffix}")
    again = read(task, files)
    assert again.names == (["a", "b-2", "c d"] if suffix != ".png" else ["a", "b-2", "c_d"])
    assert not again.refused
    torch.testing.assert_close(task.canonical(again.x).double(), task.canonical(x).double(), rtol=1e-5, atol=1e-6)
    assert again.x.dtype == x.dtype


@pytest.mark.parametrize("name", INSTALLED)
def test_every_design_can_be_drawn_into_a_file(name: str, tmp_path: Path) -> None:
    task = task_named(name)
    for suffix in PICTURES:
        [file] = write(task, task.reference()[:1], ["first"], tmp_path / f"first{suffix}")
        assert file.read_bytes()[:5].strip(b"\x89") in (b"PNG\r", b"<?xml", b"%PDF-")


@pytest.mark.parametrize("name", INSTALLED)
def test_what_is_not_valid_has_a_fault_and_only_that(name: str) -> None:
    task = task_named(name)
    x = torch.cat(
        [task.reference()[:20], task.domain.sample(20, torch.Generator().manual_seed(0)).to(task.reference())]
    )
    assert [not fault for fault in task.faults(x)] == task.valid(x).tolist()


@pytest.mark.parametrize("name", INSTALLED)
def test_the_catalogue_holds_the_reference(name: str) -> None:
    task = task_named(name)
    x, names = task.catalogue()
    assert len(x) == len(names)
    rows = {tuple(each) for each in x.flatten(1).tolist()}
    assert all(tuple(each) in rows for each in task.reference().flatten(1).tolist())


def test_letters_of_either_case_with_what_editors_add(tmp_path: Path) -> None:
    task = task_named("tfbind8")
    file = tmp_path / "dna.txt"
    file.write_bytes(b"\xef\xbb\xbfacgtacgt one\r\n\r\nTTTTAAAA\r\n")
    found = read(task, [file])
    assert isinstance(task.domain, Sequences)
    assert task.domain.text(found.x) == ["ACGTACGT", "TTTTAAAA"]
    assert found.names == ["one", "dna 2"]


@pytest.mark.parametrize("text", ["ACDXFGHIK", "ACDUFGHIK", "ACDBFGHIK", "ACD", ""])
def test_residues_that_are_none_are_refused_by_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "peptides.fasta"
    file.write_text(f">good\nSIINFEKLL\n>bad\n{text}\n")
    found = read(task_named("peptide_mhc"), [file])
    assert found.names == ["good"]
    assert list(found.refused) == ["bad"]
    assert "got" in found.refused["bad"]


def test_a_sequence_may_take_several_lines(tmp_path: Path) -> None:
    file = tmp_path / "peptides.fa"
    file.write_text(">one of them\nsiin\nfekll\n\n>other\nSIINFEKLL\n")
    found = read(task_named("peptide_mhc"), [file])
    assert found.names == ["one of them", "other"]
    assert torch.equal(*found.x)


def test_a_table_has_its_columns_in_any_order_or_no_heading(tmp_path: Path) -> None:
    task = task_named("hartmann_6")
    headed, bare = tmp_path / "headed.csv", tmp_path / "bare.csv"
    headed.write_text("x_5,x_4,note,x_3,x_2,x_1,x_0,name\n.6,.5,?,.4,.3,.2,.1,first\n")
    bare.write_text(".1,.2,.3,.4,.5,.6\n.1,.2,.3,.4,.5,1.6\n.1,.2,.3,.4,.5,\n")
    found = read(task, [headed, bare])
    assert found.names == ["first", "bare 1"]
    torch.testing.assert_close(found.x, torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]] * 2))
    assert found.refused == {
        "bare 2": "x_5 is 1.6, where 0 to 1 is allowed",
        "bare 3": "x_5 must be a number, got ''",
    }


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e400"])
def test_numbers_that_are_not_finite_are_refused(number: str, tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text(f".1,.2,.3,.4,.5,{number}\n")
    assert list(read(task_named("hartmann_6"), [file]).refused) == ["one"]


def test_a_column_is_found_by_its_name_or_because_there_is_no_other(tmp_path: Path) -> None:
    task = task_named("tfbind8")
    for text, column in (
        ("Sequence,y\nACGTACGT,1\n", None),
        ("id,dna\n7,ACGTACGT\n", None),
        ("a,b\nx,acgtacgt\n", "b"),
    ):
        file = tmp_path / "table.csv"
        file.write_text(text)
        assert read(task, [file], column).x.tolist() == [[0, 1, 2, 3] * 2]
    file.write_text("a,b\nACGTACGT,ACGTACGT\n")
    with pytest.raises(FileError, match="expected a column 'sequence', got 'a', 'b'"):
        read(task, [file])


def test_two_of_one_name_are_refused_apart(tmp_path: Path) -> None:
    file = tmp_path / "two.txt"
    file.write_text("X same\nY same\n")
    assert list(read(task_named("tfbind8"), [file]).refused) == ["same", "same (2)"]


def test_files_that_are_none(tmp_path: Path) -> None:
    task = task_named("tfbind8")
    with pytest.raises(FileError, match="there is no file"):
        read(task, [tmp_path / "absent.csv"])
    (tmp_path / "designs.docx").touch()
    with pytest.raises(FileError, match=r"read from \.csv, \.fa, \.fasta, \.npz, \.txt"):
        read(task, [tmp_path / "designs.docx"])
    (tmp_path / "empty.txt").touch()
    with pytest.raises(FileError, match="no design found"):
        read(task, [tmp_path / "empty.txt"])
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    with pytest.raises(FileError, match=r"is no \.npz file"):
        read(task, [tmp_path / "broken.npz"])
    with pytest.raises(FileError, match=r"are written as .*, got \.docx"):
        write(task, task.reference()[:1], ["a"], tmp_path / "a.docx")
    with pytest.raises(FileError, match="one design, got 2; write to"):
        write(task, task.reference()[:2], ["a", "b"], tmp_path / "a.svg")


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    task = task_named("tfbind8")
    write(task, task.reference()[:2], ["a", "b"], tmp_path / "one.fasta")
    write(task, task.reference()[2:3], ["c"], tmp_path / "two.csv")
    (tmp_path / "notes.md").write_text("not a design")
    assert read(task, [tmp_path]).names == ["a", "b", "c"]


def test_spreadsheets_read_what_is_written(tmp_path: Path) -> None:
    task = task_named("tfbind8")
    [file] = write(task, task.reference()[:1], ["a, with a comma"], tmp_path / "a.csv")
    with file.open(newline="") as opened:
        [row] = csv.DictReader(opened)
    assert row["id"] == "a, with a comma"


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C[Co]C", "it has Co"),
        ("C[Si](C)(C)C", "it has Si"),
        ("FI(F)F", "it has I"),
        ("C*", "it has \\*"),
        ("[NH3]->[Cu]", "it has Cu"),
    ],
)
def test_no_molecule_is_taken_for_another(smiles: str, reason: str) -> None:
    pytest.importorskip("rdkit")
    notation = load_task("molecule").notation()
    assert notation is not None
    with pytest.raises(ValueError, match=reason):
        notation.parse(smiles)


def test_selfies_without_a_plain_carbon_are_selfies() -> None:
    pytest.importorskip("rdkit")
    notation = load_task("molecule").notation()
    assert notation is not None
    assert notation.text(notation.parse("[O][=C][=O]")[None]) == ["O=C=O"]
    assert notation.text(notation.parse("[C][C]")[None]) == ["CC"]


def test_designs_for_prompts_are_called_by_them_and_have_no_table():
    task = PromptedProbe()
    assert texts(task, task.reference()[:4]) == ["one", "minus one", "nought", "one"]
    assert (usual(formats(task)), usual(formats(Probe()))) == (".npz", ".csv")
