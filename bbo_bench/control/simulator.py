"""MuJoCo, of the one version under which data and scores are what they were; the extra `control` has it."""

from __future__ import annotations

import mujoco

VERSION = "3.3.0"
if mujoco.__version__ != VERSION:
    raise ImportError(
        f"expected MuJoCo {VERSION}, got {mujoco.__version__}, under which data and scores differ: "
        f"pip install mujoco=={VERSION}"
    )
mujoco.set_mju_user_warning(lambda message: None)  # else it writes a file; states tell where a simulation breaks down

__all__ = ["VERSION", "mujoco"]
