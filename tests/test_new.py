"""Plugins of one's own: what `bbo-bench new` writes works as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from bbo_bench import load_task
from bbo_bench.molecules import Molecules
from bbo_bench.own import Pictures, Tokens, Vectors
from bbo_bench.plugins import UsageError
from bbo_bench.table import columns_in, measured, pooled, read

SCORES = """
def heaviest(x):
    return x[:, 0]

def acid(sequences):
    return [sequence.count("D") + sequence.count("E") for sequence in sequences]

def carbons(smiles):
    return [text.upper().count("C") for text in smiles]
"""


@pytest.fixture
def here(toys, tmp_path, monkeypatch):
    """A folder with a table of mixtures, one of peptides, and functions that score such."""
    rng = np.random.default_rng(0)
    c, w = rng.normal(300, 60, 120).clip(1), rng.normal(180, 20, 120)
    age = rng.exponential(30, 120)
    rows = [
        f"m{i},{a:.1f},{b:.1f},{d:.1f},{a / b:.3f},{a / 10:.1f}"
        for i, (a, b, d) in enumerate(zip(c, w, age, strict=True))
    ]
    (tmp_path / "mix.csv").write_text("\n".join(["id,cement,water,age,strength,cost", *rows]))
    words = ["".join(rng.choice(list("ACDEF"), rng.integers(6, 11))) for _ in range(100)]
    (tmp_path / "peptides.txt").write_text("\n".join(words).lower())
    (tmp_path / "own_scores.py").write_text(SCORES)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "plugins/tasks").mkdir(parents=True)
    (tmp_path / "plugins/optimizers").mkdir()
    toys(tmp_path / "plugins")
    return tmp_path


def trained_quickly(folder: Path, steps: int = 100) -> None:
    path = folder / "prior.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["training"]["steps"], recipe["consistency"]["passes"] = steps, 2
    recipe["sampler"]["steps"] = recipe["consistency"]["steps"] = 10
    path.write_text(yaml.safe_dump(recipe))


def test_a_table_becomes_a_task_that_is_asked_and_told(here, cli):
    made = cli(
        "new", "task", "mix", "--data", "mix.csv", "--objective", "strength - 0.01 * cost", "--constraint", "cost <= 30"
    )
    assert made.status == 0, made.err
    folder = here / "plugins/tasks/mix"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "__init__.py",
        "data.npz",
        "mix.yaml",
        "prior.yaml",
    ]
    trained_quickly(folder)
    assert cli("prior", "train", "task=mix").status == 0
    task = load_task("mix")
    assert isinstance(task, Vectors) and not task.scored
    assert task.columns == ["cement", "water", "age"], "what is measured is no part of a design"
    assert float(task.domain.lower[2]) == 0, "no negative ages where there are none"
    assert bool(task.valid(task.catalogue()[0]).all())
    assert task.faults(task.domain.lower[None]) == ["cement is out of the data's range"]
    refused = cli("run", "task=mix", "optimizer=genetic")
    assert refused.status == 1 and "task mix has no score of its own: ask for its designs" in refused.err
    asked = cli("ask", "camp", "task=mix", "optimizer=genetic", "budget.rounds=[4,4]", "budget.evaluation=8")
    assert asked.status == 0, asked.err
    assert (here / "camp/round_0_scores.csv").read_text().startswith("id,strength,cost\nr0-0,,\n")
    (here / "scores.csv").write_text("id,strength,cost\nr0-0,1,10\nr0-1,2,20\nr0-2,3,30\nr0-3,4,40\n")
    told = cli("tell", "camp", "scores.csv")
    assert told.status == 0 and "best 2.7" in told.out, told.err
    lines = (here / "camp/ledger.csv").read_text().splitlines()
    assert [line.split(",")[3] for line in lines[1:]] == ["0.9", "1.8", "2.7", "-inf"]


def test_a_table_with_a_function_becomes_a_task_that_runs(here, cli):
    made = cli("new", "task", "peptides", "--data", "peptides.txt", "--score", "own_scores:acid")
    assert made.status == 0, made.err
    folder = here / "plugins/tasks/peptides"
    trained_quickly(folder)
    assert cli("prior", "train", "task=peptides").status == 0
    written = cli("card", "task=peptides", "--write")
    assert written.status == 0, written.err
    task = load_task("peptides")
    assert isinstance(task, Tokens) and task.scored and task.open_ended
    prior = task.prior()
    y = task.evaluate(prior.decode(prior.sample(2000, torch.Generator().manual_seed(0))))
    assert task.y_prior == pytest.approx(float(y.mean()), abs=0.2), "measured, no longer the data's"
    x = task.notation().parse("acdef")[None]
    assert task.given(x) == ["ACDEF"] and bool(task.valid(x)) and task.evaluate(x).tolist() == [2]
    ran = cli(
        "run", "task=peptides", "optimizer=genetic", "budget.rounds=[8,8]", "budget.evaluation=8", "budget.validation=0"
    )
    assert ran.status == 0, ran.err
    assert cli("check", "task=peptides").status == 0
    scored = cli("score", "task=peptides", "peptides.txt")
    assert scored.status == 0, scored.err


def test_molecules_become_a_task(here, cli):
    molecule = load_task("molecule")
    texts = molecule.notation().text(molecule.reference()[:60])
    extra = ["C[N+](C)(C)CC(=O)[O-] betaine", "C[C@H](N)C(=O)O alanine", "CC(=O)[O-].[Na+] salt", "C(C nothing"]
    (here / "own.smi").write_text("\n".join([*texts, *extra, texts[0]]))
    made = cli("new", "task", "compounds", "--data", "own.smi", "--score", "own_scores:carbons")
    assert made.status == 0, made.err
    assert "left out: salt: it is more than one molecule" in made.err
    assert "left out: nothing: RDKit reads no molecule from 'C(C'" in made.err
    task = load_task("compounds")
    assert isinstance(task, Molecules)
    x, names = task.catalogue()
    assert len(x) == 62 and names[-2:] == ["betaine", "alanine"]
    assert task.given(x)[:60] == texts and bool(task.valid(x).all())
    assert task.given(task.notation().parse("C[C@H](N)C(=O)O")[None]) == ["C[C@H](N)C(=O)O"], (
        "its data have such stereo"
    )
    with pytest.raises(ValueError, match="it has P; designs are made of"):
        task.notation().parse("CP")
    trained_quickly(here / "plugins/tasks/compounds")
    assert cli("prior", "train", "task=compounds").status == 0
    ran = cli(
        "run",
        "task=compounds",
        "optimizer=genetic",
        "budget.rounds=[8,8]",
        "budget.evaluation=8",
        "budget.validation=0",
    )
    assert ran.status == 0, ran.err
    assert cli("check", "task=compounds").status == 0


def test_low_scores_may_be_good(here, cli):
    made = cli(
        "new",
        "task",
        "light",
        "--data",
        "mix.csv",
        "--score",
        "own_scores:heaviest",
        "--objective",
        "cost",
        "--minimize",
    )
    assert made.status == 0, made.err
    task = load_task("light")
    x = task.catalogue()[0]
    assert torch.equal(task.evaluate(x), -x[:, 0].double())
    assert task.best_known == pytest.approx(-float(x[:, 0].min()) / 10, abs=0.06), "of the column, with the other sign"


def test_pictures_become_a_task(here, cli):
    rng = np.random.default_rng(0)
    (here / "pictures").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (8, 12), dtype=np.uint8)).save(here / f"pictures/p{i:02}.png")
    assert cli("new", "task", "noise", "--data", "pictures").status == 0
    task = load_task("noise")
    assert isinstance(task, Pictures)
    assert task.catalogue()[0].shape == (40, 1, 8, 12) and task.catalogue()[1][0] == "p00"
    trained_quickly(here / "plugins/tasks/noise", steps=20)
    assert cli("prior", "train", "task=noise").status == 0


def test_an_optimizer_to_begin_with_conforms(here, cli):
    assert cli("new", "optimizer", "hop").status == 0
    assert cli("check", "optimizer=hop").status == 0


def test_columns_that_an_expression_names():
    assert columns_in("log(strength) - 1e-3 * `set time`") == ["strength", "set time"]
    assert columns_in("cost <= 1e3 and age >= 3") == ["cost", "age"]
    with pytest.raises(UsageError, match="no expression"):
        columns_in("cost <=")


def test_what_was_not_measured_is_no_fault(tmp_path):
    frame = pd.DataFrame({"y": [1.0, 1.0, 1.0, np.nan], "cost": [1.0, 9.0, np.nan, 1.0]})
    assert measured(frame, "y", ["cost < 5"]).tolist()[:2] == [1.0, -np.inf]
    assert np.isnan(measured(frame, "y", ["cost < 5"])[2:]).all()


def test_sheets_as_spreadsheets_leave_them(here, cli):
    made = cli("new", "task", "sheets", "--data", "mix.csv", "--constraint", "cost <= 30")
    assert "measured: cost; design: cement, water, age, strength" in made.out, made.err
    trained_quickly(here / "plugins/tasks/sheets")
    assert cli("prior", "train", "task=sheets").status == 0
    begun = ("ask", "camp", "task=sheets", "optimizer=genetic", "budget.rounds=[4,4]", "budget.evaluation=8")
    assert cli(*begun, "--minimize").status == 0
    assert (here / "camp/round_0_scores.csv").read_text().startswith("id,score,cost\nr0-0,,\n")
    (here / "gap.csv").write_text("id,score,cost\nr0-0,1,10\nr0-1,2,\nr0-2,3,30\nr0-3,4,90\n,,\n")
    assert "r0-1 of 4 designs without a score" in cli("tell", "camp", "gap.csv").err, "what nobody costed is missing"
    for text, message in (("", "is no table"), ("id;score;cost\nr0-0;1;2\n", "has semicolons between its columns")):
        (here / "wrong.csv").write_text(text)
        assert message in cli("tell", "camp", "wrong.csv").err
    (here / "whole.csv").write_text("id,score,cost\nr0-0,1,10\nr0-1,failed,\nr0-2,3,30\nr0-3,4,90\n,,\n")
    told = cli("tell", "camp", "whole.csv")
    assert told.status == 0 and "best 1," in told.out, "as it was told, though low is good"
    lines = (here / "camp/ledger.csv").read_text().splitlines()
    assert [line.split(",")[3] for line in lines[1:]] == ["-1.0", "-inf", "-3.0", "-inf"]
    best = cli("export", "camp", "--top", "4")
    assert [line.split()[1] for line in best.out.splitlines()[:-1]] == ["1", "3"], (
        "what cannot be made is not among them"
    )
    assert "2 of 4 could not be made" in told.out
    assert (here / "camp/export.csv").read_text().startswith("id,score,cement,water,age,strength\n1,1.0,")
    other = cli("ask", "camp", "task=sheets", "optimizer=cma_es", "budget.rounds=[4,4]", "budget.evaluation=8")
    assert other.status == 1 and other.err.startswith("error: "), "another campaign's folder, in words"
    measuring = cli("card", "task=sheets")
    assert measuring.status == 1 and "has no score of its own" in measuring.err


def test_an_alignment_becomes_sequences_without_gaps(tmp_path):
    (tmp_path / "family.fasta").write_text(
        "".join(f">s{i}\nAC-G{'ACGT'[i % 4]}{'ACGT'[i // 4 % 4]}\n" for i in range(16))
    )
    table, names, _ = read(tmp_path / "family.fasta", None, None, [])
    assert table.arrays["x"].shape == (16, 5) and "-" not in table.arrays["alphabet"] and names[3] == "s3"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task", "mix"], "a task needs --data"),
        (["task", "mix", "--data", "mix.csv", "--score", "own_scores:none"], "own_scores:none cannot be imported"),
        (["task", "mix", "--data", "own_scores.py"], "own_scores.py is none of .csv"),
        (["task", "mix", "--data", "absent.csv"], "there is no file absent.csv"),
        (["task", "Mix", "--data", "mix.csv"], "a word like my_task, in lower case, got 'Mix'"),
        (["task", "tfbind8", "--data", "mix.csv"], "there is a task tfbind8 already"),
        (["optimizer", "sqdf"], "there is an optimizer sqdf already"),
        (["task", "mix", "--data", "mix.csv", "--score", "own_scores"], "expected --score module:function"),
        (
            ["task", "mix", "--data", "mix.csv", "--score", "own_scores:heaviest", "--constraint", "cost <= 30"],
            "own_scores:heaviest says itself which designs are infeasible, by NaN",
        ),
        (["task", "mix", "--data", "mix.csv", "--objective", "weight"], "is no expression of id, cement"),
        (["task", "mix", "--data", "mix.csv", "--kind", "sequences"], "no column of text"),
    ],
)
def test_what_cannot_be_made(here, cli, arguments, message):
    outcome = cli("new", *arguments)
    assert outcome.status == 1 and message in outcome.err, outcome.err
    assert not (here / "plugins/tasks/mix").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n,3\n", "no finite number, in lines 3: leave them out"),
        ("a,b\n1,2\n1,3\n", "a: the same number in all rows"),
        ("a,b,c\n1,red,x\n2,blue,y\n", "b, c are no numbers"),
        ("a,b\n1,2\n1,high\n3,4\n", "b is no numbers, .*line 3 has 'high'"),
        ("a,b\n", "has a heading, a, b, and no rows"),
        ("", "is no table: No columns to parse from file"),
        ("a;b\n1;2\n", "has semicolons between its columns"),
    ],
)
def test_tables_that_are_no_designs(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read(path, None, None, ())


def test_tables_in_other_encodings_are_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("a,größe\n1,2\n".encode("latin-1"))
    with pytest.raises(UsageError, match="is no text in UTF-8; save it as"):
        read(path, None, None, ())


def test_designs_are_kept_once_with_their_first_names_and_mean_scores(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("name,a,b,y\nfirst,1,2,5\nsecond,3,4,6\nthird,1,2,7\n")
    table, names, y = read(path, None, "y", ())
    assert names == ["first", "second"] and y.tolist() == [6, 6]
    assert table.arrays["x"].tolist() == [[1, 2], [3, 4]]


def test_repeats_say_how_noisy_scores_are():
    y = np.array([1.0, 3.0, 5.0, np.nan, 4.0, 7.0, -np.inf, 9.0])
    rows, means, noise = pooled(y, ["a", "a", "b", "b", "c", "c", "c", None])
    assert rows == [0, 2, 4] and means.tolist() == [2, 5, 5.5]
    assert noise == pytest.approx(((1 + 1 + 1.5**2 + 1.5**2) / 2) ** 0.5)  # one of two, and one of two, are free
    assert pooled(y[2:5], "xyz")[2] is None


def test_a_task_has_the_noise_of_its_repeats(here, cli):
    table = (here / "mix.csv").read_text()
    first = table.splitlines()[1].split(",")
    again = ",".join([*first[:4], f"{float(first[4]) + 0.2:.3f}", first[5]])
    (here / "twice.csv").write_text(f"{table}\n{again}\n")
    made = cli("new", "task", "noisy", "--data", "twice.csv", "--objective", "strength - 0 * cost", "--external")
    assert made.status == 0 and "measured several times: 0.141" in made.out, made.err
    path = here / "plugins/tasks/noisy/noisy.yaml"
    assert yaml.safe_load(path.read_text())["noise_std"] is None
    assert load_task("noisy").noise_std == pytest.approx(0.2 / 2**0.5)
    assert cli("new", "task", "once", "--data", "mix.csv", "--objective", "strength - 0 * cost").status == 0
    with pytest.raises(ValueError, match="noise_std: null wants designs that were measured"):
        load_task("once", noise_std=None)


def test_sequences_of_one_length_need_no_padding(tmp_path):
    path = tmp_path / "dna.fasta"
    path.write_text(">a\nACG\nT\n>b\nttga\n")
    table, names, _ = read(path, None, None, ())
    assert names == ["a", "b"] and table.arrays["alphabet"].tolist() == ["A", "C", "G", "T"]
    assert table.arrays["x"].tolist() == [[0, 1, 2, 3], [3, 3, 2, 0]]


def test_a_measurement_without_a_value_has_no_score():
    import pandas as pd

    frame = pd.DataFrame({"y": [1.0, np.nan, 3.0], "cost": [1.0, 9.0, 9.0]})
    assert np.array_equal(measured(frame, "2 * y", ["cost < 5"]), [2.0, np.nan, -np.inf], equal_nan=True)


def test_a_score_that_is_no_number_is_named(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,y\n1,2\n2,lots\n")
    with pytest.raises(UsageError, match="y is no column of numbers, which scores are of: line 3 has 'lots'"):
        read(path, None, "y", ())


def test_constraints_may_be_of_words(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,y,kind\n1,2,2,wet\n2,1,3,dry\n")
    *_, y = read(path, None, "y", ["kind == 'wet'"])
    assert y.tolist() == [2, float("-inf")]
