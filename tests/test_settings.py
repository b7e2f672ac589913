"""Global settings of other code change no design and no run."""

import numpy as np
import pytest
import torch

from bbo_bench.plugins import choices
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import made, play, representatives
from bbo_bench.testing.settings import unusual_settings


def designs(name):
    """Designs of a task made anew, real ones and those of its prior, and their latents."""
    task = made("task", name)
    prior, real = task.prior(), task.reference()[:4]
    z = prior.sample(2, generator(0, "settings"))
    return [real, z, prior.decode(z), prior.encode(real)]


@pytest.mark.every_plugin
@pytest.mark.parametrize("name", representatives("task"))
def test_designs_of_a_task_stay_the_same(name):
    if missing := [*choices("task")[name].missing, *choices("task")[name].blank]:
        pytest.skip(f"needs {missing}")
    usual = designs(name)
    with unusual_settings():
        unusual = designs(name)
    assert all(torch.equal(one, two) and one.dtype == two.dtype for one, two in zip(usual, unusual, strict=True))


@pytest.mark.parametrize("name", ["sqdf", "genetic"])
def test_a_run_stays_the_same_byte_for_byte(name, tmp_path):
    usual = play(tmp_path / "usual", made("optimizer", name), Probe(), (8, 8))
    with unusual_settings():
        torch.set_grad_enabled(True)
        unusual = play(tmp_path / "unusual", made("optimizer", name), Probe(), (8, 8))
    assert unusual == usual


def test_settings_are_put_back():
    before = torch.get_default_dtype(), torch.is_grad_enabled(), np.geterr(), np.random.get_state()[1].tolist()
    with unusual_settings():
        assert torch.tensor(1.0).dtype == torch.double and np.geterr()["under"] == "raise"
    assert before == (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        np.geterr(),
        np.random.get_state()[1].tolist(),
    )
