"""Fashion-MNIST as Debian packages it, for what is built from it; no run of the benchmark needs it."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PACKAGE = "dataset-fashion-mnist"
VERSION = "0.0~git20200523.55506a9-1"
SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
IMAGE_HEADER, LABEL_HEADER = 16, 8
"""Bytes before the data of an IDX file of three dimensions and of one."""


class Pictures(NamedTuple):
    """Labelled pictures."""

    pixels: npt.NDArray[np.uint8]
    """`n x 28 x 28` grey levels, 0 being the background."""
    labels: npt.NDArray[np.uint8]
    """`n` indices into `networks.CLASSES`."""


def fetch() -> tuple[Pictures, Pictures]:
    """All 60,000 training and 10,000 test pictures, from the package; needs `apt-get` and `dpkg-deb`.

    Raises:
        RuntimeError: If the package is another one than this version.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["apt-get", "download", "-qq", f"{PACKAGE}={VERSION}"], cwd=folder, check=True)
        (package,) = folder.glob("*.deb")
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        if digest != SHA256:
            raise RuntimeError(f"expected {PACKAGE} {VERSION} with SHA-256 {SHA256}, got {digest}")
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
        files = folder / "usr/share/datasets/fashion-mnist"
        return read(files, "train"), read(files, "t10k")


def read(folder: Path, part: str) -> Pictures:
    """The pictures in the two IDX files of a part, `train` or `t10k`."""
    pixels, labels = (
        np.frombuffer(gzip.decompress((folder / f"{part}-{kind}-ubyte.gz").read_bytes()), np.uint8, offset=header)
        for kind, header in (("images-idx3", IMAGE_HEADER), ("labels-idx1", LABEL_HEADER))
    )
    return Pictures(pixels.reshape(-1, 28, 28), labels)
