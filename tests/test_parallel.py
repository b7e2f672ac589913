"""Slow oracles over several processes."""

import os

import torch

from bbo_bench.device import limited_threads
from bbo_bench.parallel import pmap

PROCESS = "__import__('os').getpid()"


def test_the_outcome_does_not_depend_on_the_processes():
    items = list(range(-11, 12))
    with limited_threads(1):
        alone = pmap(abs, items)
    with limited_threads(2):
        together = pmap(abs, items)
    assert alone == together == [abs(i) for i in items]


def test_one_thread_means_this_process_and_two_mean_others():
    with limited_threads(1):
        assert set(pmap(eval, [PROCESS] * 4)) == {os.getpid()}
    with limited_threads(2):
        assert os.getpid() not in pmap(eval, [PROCESS] * 8)
    assert torch.get_num_threads() == 1
