import json

import numpy as np
import pytest
import torch
import yaml

from bbo_bench.record import Record, RecordError, Round

CONFIG = {"task": {"name": "probe", "alpha": 4.0}, "seed": 0, "rounds": [2, 2]}
STATE = {"weights": torch.arange(4.0), "step": 3, "name": "x", "nested": [{"a": torch.ones(1)}, None, b"raw"]}


def entry(i, **metrics):
    ledger = [{"round": i, "index": j, "observed": 0.1 * j, "true": 1 / 3, "valid": 1} for j in range(2)]
    designs = {"queried": np.full((2, 3), i, np.float32), "recommended": np.zeros((1, 3))}
    return Round(ledger, {"round": i, "best": float("nan"), "queries": 2 * i + 2, **metrics}, designs, {"ask": 0.5})


def test_files_and_their_content(tmp_path):
    with Record(tmp_path / "a/b", CONFIG) as record:
        record.commit(entry(0), STATE, {"device": "cpu"}, last=False)
        record.commit(entry(1), STATE, {"device": "cpu"}, last=True)
        x, y = record.history()
    folder = tmp_path / "a/b"
    assert {file.name for file in folder.iterdir()} - {".lock"} == {
        "config.yaml",
        "ledger.csv",
        "designs.npz",
        "final.pt",
        "metrics.csv",
        "provenance.json",
        "recommended.npz",
    }
    assert list(np.load(folder / "designs.npz")) == ["queried_0", "queried_1"]
    assert list(np.load(folder / "recommended.npz")) == ["recommended_0", "recommended_1"]
    assert yaml.safe_load((folder / "config.yaml").read_text()) == CONFIG
    assert (folder / "ledger.csv").read_text() == (
        "round,index,observed,true,valid\n0,0,0.0,0.3333333333333333,1\n0,1,0.1,0.3333333333333333,1\n"
        "1,0,0.0,0.3333333333333333,1\n1,1,0.1,0.3333333333333333,1\n"
    )
    assert (folder / "metrics.csv").read_text() == "round,best,queries\n0,,2\n1,,4\n"
    facts = json.loads((folder / "provenance.json").read_text())
    assert facts["complete"] and facts["seconds"] == [{"ask": 0.5}] * 2 and facts["device"] == "cpu"
    assert x.tolist() == [[0] * 3] * 2 + [[1] * 3] * 2 and y.tolist() == [1 / 3] * 4


def test_the_state_comes_back(tmp_path):
    with Record(tmp_path, CONFIG) as record:
        assert record.state is None and record.rounds == 0
        record.commit(entry(0), STATE, {}, last=False)
    with Record(tmp_path, CONFIG) as record:
        assert record.rounds == 1 and not record.complete
        assert torch.equal(record.state.pop("weights"), STATE["weights"])
        assert torch.equal(record.state["nested"][0].pop("a"), torch.ones(1))
        assert record.state == {"step": 3, "name": "x", "nested": [{}, None, b"raw"]}
        assert record.provenance["seconds"] == [{"ask": 0.5}]


def test_a_complete_run_is_known_as_such(tmp_path):
    for complete in (False, True):
        with Record(tmp_path, CONFIG) as record:
            assert record.complete == complete
            if not complete:
                record.commit(entry(0), STATE, {}, last=True)


def test_columns_that_change_are_refused_and_nothing_is_written(tmp_path):
    with Record(tmp_path, CONFIG) as record:
        record.commit(entry(0, loss=1.0), STATE, {}, last=False)
        before = {file: file.read_bytes() for file in tmp_path.glob("[!.]*")}
        with pytest.raises(
            RecordError, match="has the columns round,best,queries,loss, but this round gave round,best"
        ):
            record.commit(entry(1), STATE, {}, last=False)
    assert {file: file.read_bytes() for file in before} == before


def test_a_failure_is_noted_until_the_run_goes_on(tmp_path):
    with Record(tmp_path, CONFIG) as record:
        record.commit(entry(0), STATE, {}, last=False)
        record.fail(ValueError("the wing broke"))
    assert "ValueError: the wing broke" in (tmp_path / "error.txt").read_text()
    with Record(tmp_path, CONFIG) as record:
        assert record.rounds == 1
    assert not (tmp_path / "error.txt").exists()


def swap(folder, name, arrays):
    with np.load(folder / name) as file:
        np.savez(folder / name, **(dict(file) | arrays))


@pytest.mark.parametrize("name", ["designs.npz", "recommended.npz"])
def test_designs_of_another_run_are_noticed(tmp_path, name):
    with Record(tmp_path, CONFIG) as record:
        record.commit(entry(0), STATE, {}, last=False)
    key = "queried_1" if name == "designs.npz" else "recommended_1"
    swap(tmp_path, name, {key: np.ones((2, 3))})  # of a round that was not committed: of no account
    with Record(tmp_path, CONFIG) as record:
        assert record.rounds == 1
    swap(tmp_path, name, {key.replace("1", "0"): np.full((2, 3), 0.5, np.float32)})
    with pytest.raises(RecordError, match=rf"{name} is damaged; move the folder away"), Record(tmp_path, CONFIG):
        pass


def test_a_complete_runs_configuration_is_part_of_it(tmp_path):
    with Record(tmp_path, CONFIG) as record:
        record.commit(entry(0), STATE, {}, last=True)
    (tmp_path / "config.yaml").write_text((tmp_path / "config.yaml").read_text().replace("4.0", "4.00"))
    with pytest.raises(RecordError, match=r"config.yaml is not as it was written"), Record(tmp_path, CONFIG):
        pass


@pytest.mark.parametrize("name", ["ledger.csv", "metrics.csv", "designs.npz", "recommended.npz"])
def test_files_that_belong_to_no_run_are_never_overwritten(tmp_path, name):
    (tmp_path / name).write_text("a person's own")
    with pytest.raises(RecordError, match=rf"holds {name}, but no run that they belong to"), Record(tmp_path, CONFIG):
        pass
    (tmp_path / "config.yaml").write_text("task: {name: probe, alpha: 2.0}")
    with pytest.raises(RecordError, match=r"task.alpha: 2.0 there, 4.0 now"), Record(tmp_path, CONFIG):
        pass
    assert (tmp_path / name).read_text() == "a person's own"


def test_a_run_that_ended_before_its_first_commit_starts_anew(tmp_path):
    with Record(tmp_path, CONFIG) as record:
        record.commit(entry(0), STATE, {}, last=False)
    for name in ("state.pt", "provenance.json"):
        (tmp_path / name).unlink()
    with Record(tmp_path, CONFIG) as record:
        assert (record.rounds, record.state) == (0, None)


def test_rounds_without_what_says_that_they_are_whole_are_not_overwritten(tmp_path):
    with Record(tmp_path, CONFIG) as record:
        record.commit(entry(0), STATE, {}, last=False)
        record.commit(entry(1), STATE, {}, last=True)
    (tmp_path / "provenance.json").unlink()
    with pytest.raises(RecordError, match=r"holds 2 rounds, but neither provenance.json nor"), Record(tmp_path, CONFIG):
        pass
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 3


class Odd:
    pass


@pytest.mark.parametrize(
    ("state", "culprit"),
    [
        ({"best": Odd()}, r"state_dict\(\)\['best'\] is a \S*test_record.Odd"),
        ({"a": {"b": [1, Odd()]}}, r"state_dict\(\)\['a'\]\['b'\]\[1\] is a \S*test_record.Odd"),
        ({"choose": lambda x: x}, r"state_dict\(\)\['choose'\] is a builtins.function"),
    ],
)
def test_a_state_that_could_not_be_loaded_is_refused_at_the_first_commit(tmp_path, state, culprit):
    with Record(tmp_path, CONFIG) as record, pytest.raises(RecordError, match=culprit):
        record.commit(entry(0), state, {}, last=False)
    assert not (tmp_path / "ledger.csv").exists()


def test_a_folder_that_was_removed_keeps_nothing(tmp_path):
    with Record(tmp_path / "gone", CONFIG) as record:
        for file in (tmp_path / "gone").iterdir():
            file.unlink()
        (tmp_path / "gone").rmdir()
        with pytest.raises(OSError, match="the folder of the run has been removed"):
            record.commit(entry(0), STATE, {}, last=False)
