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
        before = {file: file.read_bytes() for file in tmp_path.iterdir()}
        with pytest.raises(
            RecordError, match="has the columns round,best,queries,loss, but this round gave round,best"
        ):
            record.commit(entry(1), STATE, {}, last=False)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_failure_is_noted_until_the_run_goes_on(tmp_path):
    with Record(tmp_path, CONFIG) as record:
        record.commit(entry(0), STATE, {}, last=False)
        record.fail(ValueError("the wing broke"))
    assert "ValueError: the wing broke" in (tmp_path / "error.txt").read_text()
    with Record(tmp_path, CONFIG) as record:
        assert record.rounds == 1
    assert not (tmp_path / "error.txt").exists()
