import pytest
import torch

from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.domains import Box

SCHEDULER = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}


@pytest.fixture
def gaussian():
    """N(0, I) in two dimensions: an untrained network predicts v = 0, the exact denoiser."""
    box = Box(torch.full((2,), -20.0), torch.full((2,), 20.0))
    return DiffusionPrior(MLP(2, width=32, depth=1), Standardize(box), SCHEDULER, {"steps": 20})
