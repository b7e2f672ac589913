"""Make sequences.npz anew: `python -m bbo_bench.tasks.ehrlich.build_data`.

Nothing is fetched: the sequences are drawn from the Markov chain of the functions themselves. Those that score above
the 90th percentile are left out, so that the data are feasible and poor. They are kept in a file, since the last digits
of the chain's probabilities, and so a few tokens, depend on the processor's vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.ehrlich import DATA, STATES
from bbo_bench.tasks.ehrlich.function import EhrlichFunction

NAMES = ("ehrlich_32", "ehrlich_128", "ehrlich_256")
TRAINING = {32: 10_000, 128: 4_000, 256: 4_000}
"""Sequences to train with, by their length."""
REFERENCE = 256
QUANTILE = 0.9
SETTINGS = ("length", "motifs", "motif_length", "quantization", "epistasis")


def sequences(function: EhrlichFunction) -> dict[str, npt.NDArray[np.uint8]]:
    """Training and reference designs of a function."""
    n = TRAINING[function.length] + REFERENCE
    x = function.sample(2 * n, generator(0, "sequences", function.length))
    y = function(x)
    poor = x[y <= y.quantile(QUANTILE)][:n].numpy().astype(np.uint8)
    return {f"reference_{function.length}": poor[:REFERENCE], f"training_{function.length}": poor[REFERENCE:]}


def main() -> None:
    """Draw, leave out the best, split and write."""
    data: dict[str, Any] = {}
    for name in NAMES:
        settings = find("task", name).settings
        data |= sequences(EhrlichFunction.draw(STATES, **{key: settings[key] for key in SETTINGS}))
    np.savez_compressed(DATA, **data)
    print(f"{ {key: x.shape for key, x in data.items()} }: {DATA}")


if __name__ == "__main__":
    main()
