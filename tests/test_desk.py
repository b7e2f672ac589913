"""The commands for designs of one's own, as one would type them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

CAMPAIGN = ("task=toy", "optimizer=toy_search", "budget.rounds=[4,4]", "budget.evaluation=8")


def told(folder: Path, scores: dict[str, str], name: str = "scores.csv") -> Path:
    path = folder / name
    path.write_text("id,score\n" + "".join(f"{key},{value}\n" for key, value in scores.items()))
    return path


def ids(folder: Path, i: int) -> list[str]:
    with (folder / f"round_{i}.csv").open(newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def test_a_campaign_from_the_first_question_to_the_last_answer(cli, tmp_path):
    begun = cli("ask", "camp", *CAMPAIGN)
    assert begun.status == 0, begun.err
    assert "round 0: 4 designs in camp/round_0.csv" in begun.out
    assert (tmp_path / "camp/round_0_scores.csv").read_text() == "id,score\nr0-0,\nr0-1,\nr0-2,\nr0-3,\n"
    first = (tmp_path / "camp/round_0.csv").read_bytes()
    assert cli("status", "camp").out == (
        "camp: toy_search on toy, 0 of 2 rounds told; designs of round 0 wait for scores: bbo-bench tell camp SCORES\n"
    )
    again = cli("ask", "camp", "--format", "npz")
    assert again.status == 0 and "round 0" in again.out
    assert (tmp_path / "camp/round_0.csv").read_bytes() == first
    answer = told(tmp_path, {"r0-2": "3.5", "r0-0": "failed", "r0-3": "1", "r0-1": " 2 "})
    done = cli("tell", "camp", str(answer))
    assert done.status == 0, done.err
    assert "round 0 is told, 4 designs in all: best 3.5" in done.out
    assert cli("status", "camp").out == "camp: toy_search on toy, 1 of 2 rounds told; bbo-bench ask camp\n"
    assert cli("ask", "camp").status == 0
    assert ids(tmp_path / "camp", 1) == [f"r1-{i}" for i in range(4)]
    assert cli("tell", "camp", str(told(tmp_path, {"r1-1": "9"})), "--missing", "left-out").status == 0
    ledger = pd.read_csv(tmp_path / "camp/ledger.csv")
    assert ledger["observed"].tolist() == [1, 2, 3.5, 1, 9] and ledger["round"].tolist() == [0] * 4 + [1]
    assert "2 of 2 rounds told; bbo-bench export camp" in cli("status", "camp").out
    over = cli("ask", "camp")
    assert over.status == 1 and "is complete: all 2 rounds have been told" in over.err
    more = cli("ask", "camp", *CAMPAIGN[:2], "budget.rounds=[4,4,2]", CAMPAIGN[3])
    assert more.status == 0 and "round 2: 2 designs" in more.out, more.err
    best = cli("export", "camp", "--top", "2", "--format", "csv")
    assert best.status == 0 and best.out.startswith("1  9\n2  3.5\n"), best.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,value\nr0-0,1\n", "expected columns id and score, got id, value"),
        ("", "expected columns id and score, got nothing"),
        ("id;score\nr0-0;1\n", "has semicolons between its columns; save it with commas"),
        ("id,score\n,\nr0-0,1\n , \n", "r0-1, r0-2, r0-3 of 4 designs without a score"),
        ("id,score\nr0-0,much\n", "line 2: 'much' is no score"),
        ("id,score\nr0-0,1\n", "r0-1, r0-2, r0-3 of 4 designs without a score"),
        ("id,score\nr7-0,1\n", "r7-0: no design of this round"),
    ],
)
def test_scores_that_cannot_be_told(cli, tmp_path, text, message):
    assert cli("ask", "camp", *CAMPAIGN).status == 0
    (tmp_path / "scores.csv").write_text(text)
    outcome = cli("tell", "camp", "scores.csv")
    assert outcome.status == 1 and message in outcome.err, outcome.err


def test_what_is_missing_is_said(cli, tmp_path):
    assert "holds no campaign yet" in cli("ask", "camp").err
    assert "there is no run and no campaign in camp" in cli("tell", "camp", "scores.csv").err
    assert "there is no task named 'toi'" in cli("ask", "camp", "task=toi", "optimizer=toy_search").err
    assert "there is no run and no campaign in camp" in cli("export", "camp").err
    assert "there is no file" in cli("score", "task=toy", "designs.csv").err
    assert "name the files" in cli("score", "task=toy", "task.noise_std=1").err
    assert not (tmp_path / "camp").exists()


def test_designs_are_scored_and_the_others_refused(cli, tmp_path):
    pytest.importorskip("rdkit")
    (tmp_path / "drugs.smi").write_text(
        "CC(=O)Oc1ccccc1C(=O)O aspirin\nCn1cnc2c1c(=O)n(C)c(=O)n2C caffeine\n"
        "Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F celecoxib\nCc1ccnc2N(C3CC3)c3ncccc3C(=O)Nc12 nevirapine\n"
        "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(n1)-c1cccnc1 imatinib\n"
        "CC(C)Cc1ccc(cc1)[C@H](C)C(O)=O S-ibuprofen\nO=[N+]([O-])c1ccccc1 nitrobenzene\n"
        "CC(=O)[O-].[Na+] salt\nCI iodide\n"
    )
    outcome = cli("score", "task=molecule_qed", "drugs.smi", "--out", "scores.csv")
    assert outcome.status == 0, outcome.err
    table = pd.read_csv(tmp_path / "scores.csv").set_index("name")
    scores = table["score"].dropna()
    # RDKit's own QED of these four
    assert scores.round(3).to_dict() == {"aspirin": 0.55, "caffeine": 0.538, "celecoxib": 0.754, "nevirapine": 0.862}
    for name, reason in {
        "imatinib": "takes 59 tokens",
        "S-ibuprofen": "which stereoisomer",
        "nitrobenzene": "nitro groups",
        "salt": "more than one molecule",
        "iodide": "has I",
    }.items():
        assert reason in table["refused"][name]
        assert f"refused: {name}: " in outcome.out


def test_a_campaign_keeps_to_how_it_was_begun(cli, tmp_path):
    assert cli("ask", "camp", *CAMPAIGN, "--format", "npz").status == 0
    assert "round_0.npz" in cli("ask", "camp").out, "its format"
    late = cli("ask", "camp", "--minimize")
    assert late.status == 1 and "was begun for high scores" in late.err
    part = cli("ask", "camp", "optimizer=cma_es")
    assert part.status == 1 and "`bbo-bench ask camp` goes on with it" in part.err
    other = cli("ask", "camp", *CAMPAIGN, "seed=1")
    assert other.status == 1 and "seed: 0 there, 1 now); choose another folder, or move the folder away" in other.err


def test_what_the_task_calls_invalid_is_said_before_it_is_made(cli, tmp_path):
    asked = cli("ask", "camp", *CAMPAIGN, "optimizer.step=100")
    assert "invalid" not in asked.out, "samples of the prior"
    assert cli("tell", "camp", str(told(tmp_path, {f"r0-{i}": str(i) for i in range(4)}))).status == 0
    far = cli("ask", "camp")  # the box's corners, out of the task's circle
    assert "invalid by the task's own check, told as `failed` where they cannot be made: r1-0, r1-1" in far.out


def test_sheets_that_are_none(cli, tmp_path):
    assert cli("ask", "camp", *CAMPAIGN).status == 0
    (tmp_path / "wide.csv").write_bytes("id,score\nr0-0,1\n".encode("utf-16"))
    assert "wide.csv is no text in UTF-8; save it as" in cli("tell", "camp", "wide.csv").err
    assert "camp is a folder, not a file" in cli("tell", "camp", "camp").err


def test_sheets_that_say_two_things(cli, tmp_path):
    assert cli("ask", "camp", *CAMPAIGN).status == 0
    sheet, rest = tmp_path / "sheet.csv", "r0-1,2\nr0-2,3\nr0-3,4\n"
    sheet.write_text(f"id,score\nr0-0,inf\n{rest}")
    assert "the score of r0-0 must be a number" in cli("tell", "camp", "sheet.csv").err, "an overflow is no failure"
    sheet.write_text(f"id,score\nr0-0,failed\nr0-0,1\n{rest}")
    assert "told as made and as impossible to make" in cli("tell", "camp", "sheet.csv").err
    sheet.write_text(f"id,score\nr0-0,1\nr0-0,2\n{rest}")
    told = cli("tell", "camp", "sheet.csv")
    assert told.status == 0 and "told by the mean: r0-0" in told.out
    assert pd.read_csv(tmp_path / "camp/ledger.csv")["observed"].tolist() == [1.5, 2, 3, 4]


def test_the_best_of_a_run_are_exported_by_their_true_scores(cli, tmp_path):
    assert cli("run", *CAMPAIGN, "budget.validation=0", "results=out").status == 0
    [folder] = (tmp_path / "out").rglob("seed_0")
    outcome = cli("export", str(folder), "--top", "3", "--format", "npz", "--out", "best")
    assert outcome.status == 0, outcome.err
    scores = [float(line.split()[1]) for line in outcome.out.splitlines()[:-1]]
    assert scores == sorted(scores, reverse=True)
    found = np.load(tmp_path / "best.npz")
    assert found["names"].tolist() == [str(i + 1) for i in range(len(scores))]
    queried = cli("export", str(folder), "--queried", "--top", "1", "--format", "png", "--out", "pictures")
    assert queried.status == 0 and (tmp_path / "pictures/1.png").exists()
