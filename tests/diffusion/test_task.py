"""A task with a diffusion prior: what it must say, and how its prior is loaded."""

import pytest
import torch

from bbo_bench import load_task
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.plugins import find
from bbo_bench.testing.settings import unusual_settings


class Unfinished(DiffusionTask):
    def evaluate(self, x):
        return x.sum(1).double()

    def reference(self):
        return torch.zeros(4, 2)

    def features(self, x):
        return x

    def valid(self, x):
        return torch.ones(len(x), dtype=torch.bool)

    def render(self, x, axes):
        axes.plot(x)


def test_a_task_must_have_data_and_a_codec():
    with pytest.raises(TypeError, match=r"abstract methods? codec, training_data"):
        Unfinished()


@pytest.mark.skipif(bool(find("task", "emoji_align").missing), reason="needs PIL")
def test_its_prior_is_of_single_precision_whatever_the_default():
    task = load_task("emoji_align")
    with unusual_settings():
        prior = task.prior()
    tensors = [*prior.denoiser.parameters(), *prior.denoiser.buffers(), *prior.codec.buffers()]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}
