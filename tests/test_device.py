import numpy as np
import pytest
import torch

from bbo_bench.device import limited_threads, resolve
from bbo_bench.loop import Budget, run
from bbo_bench.plugins import UsageError
from bbo_bench.record import Record
from bbo_bench.testing.probe import Probe, made


def test_auto_is_a_device_of_this_machine():
    assert resolve("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve("cpu") == torch.device("cpu")


def test_unknown_and_absent_devices_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="not on this machine"):
        resolve("cuda")
    with pytest.raises(UsageError, match="did you mean cpu"):
        resolve("cpuu")


def test_threads_are_limited_and_given_back():
    before = torch.get_num_threads()
    with limited_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "name", ["prior_sampling", "sqdf", "ddpo", "ddpo_oracle", "cma_es", "genetic", "turbo", "qlogei"]
)
def test_optimizers_run_on_a_gpu(tmp_path, name):
    budget = Budget((16, 16), evaluation=8, validation=0)
    with Record(tmp_path, {}) as record:
        run(Probe(), made("optimizer", name), budget=budget, seed=0, device=torch.device("cuda"), record=record)
        assert record.complete
    with np.load(tmp_path / "recommended.npz") as designs:
        assert np.isfinite(designs["recommended_1"]).all()
