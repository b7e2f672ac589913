"""Make molecules.npz and filters.npz anew from MOSES: `python -m bbo_bench.tasks.molecule.build_data`.

Molecules of the benchmark's training set, drawn at random, are written as SELFIES along their longest paths; those are
left out that need more than 48 tokens or an element that is rare there. 512 are held out, and what is nearly one of
them is not trained on.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bbo_bench.smiles import PADDING, along_the_longest_path

VERSION = "0.3.1"
WHEEL_SHA256 = "7f4450e3ebecebe79c3a2a55950c93daddee071120daf64a163d03481e811d34"
MOLECULES, FILTERS = (Path(__file__).with_name(name) for name in ("molecules.npz", "filters.npz"))

LENGTH = 48
DRAWN, TRAINED, HELD_OUT = 54_000, 50_000, 512
RAREST = 1e-3
"""A token that a smaller share of the molecules has is rare."""
NEAR_DUPLICATE = 0.6
"""Tanimoto similarity to a held-out molecule from which on another is not trained on."""
WORDS = 512
"""Size of the vocabulary of words, tokens and padding included."""
READ = 5000
"""Molecules from which the words are learnt."""
SEED = 0


def wheel() -> zipfile.ZipFile:
    """The package `molsets`, downloaded and checked, but not installed.

    Raises:
        RuntimeError: If it is not the known one.
    """
    name = f"molsets=={VERSION}"
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--dest", folder, name], check=True)
        (file,) = Path(folder).iterdir()
        content = file.read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != WHEEL_SHA256:
        raise RuntimeError(f"expected {name} with SHA-256 {WHEEL_SHA256}, got {digest}")
    return zipfile.ZipFile(io.BytesIO(content))


def smarts(package: zipfile.ZipFile) -> dict[str, str]:
    """MOSES's structural filters by name: medicinal chemistry filters (MCF) and PAINS."""
    mcf, pains = (
        csv.reader(io.StringIO(package.read(f"moses/metrics/{name}.csv").decode()), skipinitialspace=True)
        for name in ("mcf", "wehi_pains")
    )
    next(mcf)  # the heading
    found = dict(row for row in mcf if row)
    return found | {name.strip("<>").removeprefix("regId="): pattern.strip() for pattern, name in pains}


def drawn(package: zipfile.ZipFile) -> list[str]:
    """SMILES strings of the training set, in random order."""
    lines = gzip.decompress(package.read("moses/dataset/data/train.csv.gz")).decode().split()[1:]
    return [lines[i].partition(",")[0] for i in np.random.default_rng(SEED).permutation(len(lines))[:DRAWN]]


def short(molecules: Sequence[Sequence[str]]) -> list[int]:
    """Which molecules have at most 48 tokens, none of them rare."""
    share = Counter(token for molecule in molecules for token in set(molecule))
    common = {token for token, count in share.items() if count >= RAREST * len(molecules)}
    return [i for i, molecule in enumerate(molecules) if len(molecule) <= LENGTH and common.issuperset(molecule)]


def distinct(smiles: Sequence[str], held_out: Sequence[str]) -> list[int]:
    """Which molecules are no near-duplicates of a held-out one."""
    from rdkit import Chem, DataStructs
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    morgan = GetMorganGenerator(radius=2, fpSize=2048)
    apart = [morgan.GetFingerprint(Chem.MolFromSmiles(s)) for s in held_out]
    return [
        i
        for i, s in enumerate(smiles)
        if max(DataStructs.BulkTanimotoSimilarity(morgan.GetFingerprint(Chem.MolFromSmiles(s)), apart)) < NEAR_DUPLICATE
    ]


def words(molecules: Sequence[Sequence[str]], size: int) -> list[str]:
    """Frequent runs of tokens, by byte-pair encoding: the commonest pair of neighbours becomes a word, again and again.

    Args:
        molecules: Tokens of each.
        size: How many words to find.
    """
    texts = [list(molecule) for molecule in molecules]
    found: list[str] = []
    while len(found) < size:
        pairs = Counter(pair for text in texts for pair in pairwise(text))
        first, second = max(pairs, key=lambda pair: (pairs[pair], pair))
        found.append(first + second)
        for text in texts:
            for i in range(len(text) - 2, -1, -1):
                if text[i : i + 2] == [first, second]:
                    text[i : i + 2] = [first + second]
    return found


def indices(molecules: Sequence[Sequence[str]], alphabet: Sequence[str]) -> npt.NDArray[np.uint8]:
    """`n x 48` numbers of tokens, padded at the end."""
    number = {token: i for i, token in enumerate(alphabet)}
    rows = [[number[token] for token in [*molecule, *[PADDING] * (LENGTH - len(molecule))]] for molecule in molecules]
    return np.array(rows, dtype=np.uint8)


def main() -> None:
    """Draw, encode, filter, split and write."""
    import selfies

    package = wheel()
    patterns = smarts(package)
    np.savez_compressed(FILTERS, name=np.array(list(patterns)), smarts=np.array(list(patterns.values())))
    smiles = drawn(package)
    molecules = [list(selfies.split_selfies(selfies.encoder(along_the_longest_path(s)))) for s in smiles]
    kept = short(molecules)
    apart, rest = kept[:HELD_OUT], kept[HELD_OUT:]
    near = distinct([smiles[i] for i in rest], [smiles[i] for i in apart])
    trained = [molecules[rest[i]] for i in near[:TRAINED]]
    chosen = [molecules[i] for i in apart] + trained
    counts = Counter(token for molecule in chosen for token in molecule)
    alphabet = [PADDING, *sorted(counts, key=lambda token: (-counts[token], token))]
    vocabulary = [*alphabet, *words(trained[:READ], WORDS - len(alphabet))]
    held_out = np.arange(len(chosen)) < HELD_OUT
    x = indices(chosen, alphabet)
    np.savez_compressed(MOLECULES, x=x, held_out=held_out, alphabet=np.array(alphabet), words=np.array(vocabulary))
    print(f"{len(smiles)} drawn, {len(kept)} short, {len(rest) - len(near)} near-duplicates left out, {len(x)} kept")


if __name__ == "__main__":
    main()
