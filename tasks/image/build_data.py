"""Make pictures.npz anew from Debian's package of Fashion-MNIST: `python -m bbo_bench.tasks.image.build_data`.

10,000 of the 60,000 training pictures, 1,000 of each class, train the prior; 512 of the 10,000 test pictures, 51 or 52
of each class, are held out. Both are drawn at random, and their classes alternate. Test pictures that are nearly one
of the 10,000 are passed over.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bbo_bench.tasks.image.networks import CLASSES
from bbo_bench.tasks.image.source import Pictures, fetch

TRAINING, HELD_OUT = 10_000, 512
NEAR_DUPLICATE = 10.0
"""Root mean square distance in grey levels (of 255) up to which two pictures count as one."""
SEED = 0
TARGET = Path(__file__).with_name("pictures.npz")


def alternating(pictures: Pictures, rng: np.random.Generator) -> Pictures:
    """The pictures in random order, but one of each class in turn; as many as the rarest class allows."""
    order = rng.permutation(len(pictures.labels))
    rows = [order[pictures.labels[order] == label] for label in range(len(CLASSES))]
    few = min(map(len, rows))
    chosen = np.stack([row[:few] for row in rows], axis=1).ravel()
    return Pictures(pictures.pixels[chosen], pictures.labels[chosen])


def nearest(a: Pictures, b: Pictures) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Root mean square distances, in grey levels, from the pictures of `a` to their nearest ones in `b`."""
    from scipy.spatial.distance import cdist

    flat_a, flat_b = (each.pixels.reshape(len(each.pixels), -1).astype(float) for each in (a, b))
    distances: np.ndarray[tuple[int], np.dtype[np.float64]] = cdist(flat_a, flat_b).min(1) / 28
    return distances


def main() -> None:
    """Draw and write."""
    train, test = fetch()
    rng = np.random.default_rng(SEED)
    training = Pictures(*(part[:TRAINING] for part in alternating(train, rng)))
    candidates = Pictures(*(part[: 2 * HELD_OUT] for part in alternating(test, rng)))
    apart = nearest(candidates, training) > NEAR_DUPLICATE
    held_out = Pictures(*(part[apart][:HELD_OUT] for part in candidates))
    np.savez_compressed(
        TARGET,
        training=training.pixels,
        training_labels=training.labels,
        held_out=held_out.pixels,
        held_out_labels=held_out.labels,
    )
    print(f"{len(training.labels)} to train on, {len(held_out.labels)} held out: {TARGET}")


if __name__ == "__main__":
    main()
