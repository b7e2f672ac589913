"""XFoil: a panel method with an integral boundary layer, run through its standard input and output.

Source: M. Drela, "XFOIL: An Analysis and Design System for Low Reynolds Number Airfoils", 1989.
"""

from __future__ import annotations

import math
import re
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

SECONDS = 60
"""Time limit of one analysis; it takes .1 to .3 s, so a slow machine gives the same answers as a fast one."""

SESSION = """PLOP
G

LOAD section.dat
PANE
OPER
VISC {reynolds:.0f}
ITER 100
ALFA {alpha:g}
"""
"""Graphics off, then one point. Debian's build dies of a floating-point exception once it has solved it and turns to
plotting (with polar accumulation, PACC, before): each section gets a process, and the exit status says nothing."""

CONVERGED = 1e-4
"""XFoil's own tolerance for the root mean square of the Newton update."""

STEP = re.compile(r"rms:\s*([\d.]\S*).*?CL =\s*(-?[\d.]\S*).*?CD =\s*([\d.]\S*)", re.DOTALL)
"""A Newton step's update, lift and drag; numbers that XFoil could not print (asterisks) do not match."""


@cache
def version(executable: str) -> str:
    """The version that XFoil's banner gives, or `unknown`."""
    try:
        done = subprocess.run([executable], input="QUIT\n", capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    banner = re.search(r"XFOIL\s+Version\s+(\S+)", done.stdout)
    return banner[1] if banner else "unknown"


def lift_to_drag(outline: Tensor, alpha: float, reynolds: float, executable: str) -> float:
    """Lift over drag of the section with this `p x 2` outline; NaN where XFoil gives no converged solution.

    Args:
        outline: Points from the upper trailing edge around the nose to the lower trailing edge, in chords.
        alpha: Angle of attack in degrees.
        reynolds: Reynolds number of the chord.
        executable: Path of XFoil.
    """
    session = SESSION.format(alpha=alpha, reynolds=reynolds)
    with TemporaryDirectory() as folder:
        points = "\n".join(f"{x:.7f} {y:.7f}" for x, y in outline.tolist())
        Path(folder, "section.dat").write_text(f"section\n{points}\n")
        try:
            done = subprocess.run(
                [executable], input=session, capture_output=True, text=True, cwd=folder, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return math.nan
    return read_output(done.stdout)


def read_output(text: str) -> float:
    """Lift over drag in XFoil's standard output: that of the last Newton step, or NaN if it did not converge."""
    steps = STEP.findall(text)
    if not steps:
        return math.nan
    update, lift, drag = map(float, steps[-1])
    return lift / drag if update < CONVERGED else math.nan
