"""Global settings as other code may have left them."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory

import matplotlib as mpl
import numpy as np
import torch


@contextmanager
def unusual_settings() -> Iterator[None]:
    """Double precision by default, no gradients, strict NumPy and warnings, dark figures, another folder and seeds.

    All is put back at the end.
    """
    dtype, folder = torch.get_default_dtype(), os.getcwd()
    states = random.getstate(), np.random.get_state()
    with ExitStack() as stack:
        elsewhere = stack.enter_context(TemporaryDirectory())
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(torch.no_grad())
        stack.enter_context(np.errstate(all="raise"))
        stack.enter_context(warnings.catch_warnings(action="error"))
        stack.enter_context(mpl.rc_context({"figure.facecolor": "black", "axes.grid": True, "lines.marker": "o"}))
        try:
            os.chdir(elsewhere)
            torch.set_default_dtype(torch.float64)
            random.seed(1)
            np.random.seed(1)
            torch.manual_seed(1)
            yield
        finally:
            os.chdir(folder)
            torch.set_default_dtype(dtype)
            random.setstate(states[0])
            np.random.set_state(states[1])
