"""Arithmetic that depends less on the processor: what `reproducible=strict` pins. Imports nothing that computes.

By themselves torch and NumPy, and the libraries below them, take the widest instructions that a processor has, and MKL
asks for its maker too; sums are then added in other orders, and exponentials rounded by other polynomials.

Not pinned: torch's square root, which MKL takes from the processor's own estimate of 1 / sqrt(x), and with it Adam; it
is not rounded correctly, and makers' estimates differ. Nor the number of threads, which is the run's setting `threads`,
the versions of packages, programs such as XFoil, code of a package's own such as ViennaRNA's, and GPUs.
"""

from __future__ import annotations

import os
import sys

from bbo_bench.plugins import UsageError, suggestion

FAST, STRICT = "fast", "strict"
ARITHMETIC = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's convolutions
    "MKL_CBWR": "COMPATIBLE",  # torch's products, decompositions, exp, sin and erf
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's products and decompositions: the kernels for AVX2
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL",
}
"""Environment variables that pin x86-64 processors to AVX2. Of MKL's modes only `COMPATIBLE` holds on AMD's and Intel's
alike; the names of NumPy's features changed in its version 2.4."""


def pin(mode: str = STRICT) -> None:
    """Pin the arithmetic of this process and of those that it starts; call it before torch and NumPy are imported.

    Args:
        mode: `strict` sets the environment variables of `ARITHMETIC`; `fast` sets nothing.

    Raises:
        UsageError: If there is no such mode, or torch or NumPy is already imported without the variables.
    """
    if mode not in (FAST, STRICT):
        raise UsageError(f"reproducible={mode} is unknown; {suggestion(mode, [FAST, STRICT])}")
    if mode == FAST or pinned():
        return
    if early := [module for module in ("torch", "numpy") if module in sys.modules]:
        variables = " ".join(f"{key}='{value}'" for key, value in ARITHMETIC.items())
        raise UsageError(
            f"reproducible=strict must be set before {early[0]} is imported; call bbo_bench.reproducible.pin() first, "
            f"or start Python with {variables}"
        )
    os.environ |= ARITHMETIC


def pinned() -> bool:
    """Whether the environment has every variable of `ARITHMETIC` with its value."""
    return ARITHMETIC.items() <= os.environ.items()
