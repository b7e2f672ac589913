"""The prompts, animals of DDPO's experiments, and the words that they are read by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

WORDS = Path(__file__).with_name("words.npz")
PICTURES = Path(__file__).with_name("animals.npz")
DIFFERENT = {
    "sheep": ("ewe", "ram"),
    "squirrel": ("chipmunk",),
    "bee": ("honeybee",),
    "camel": ("camel", "two-hump camel"),
}
"""Animals whose emoji have other names."""
NAMES = [
    "cat",
    "dog",
    "horse",
    "monkey",
    "rabbit",
    "zebra",
    "spider",
    "bird",
    "sheep",
    "deer",
    "cow",
    "goat",
    "lion",
    "tiger",
    "bear",
    "raccoon",
    "fox",
    "wolf",
    "lizard",
    "beetle",
    "ant",
    "butterfly",
    "fish",
    "shark",
    "whale",
    "dolphin",
    "squirrel",
    "mouse",
    "rat",
    "snake",
    "turtle",
    "frog",
    "chicken",
    "duck",
    "goose",
    "bee",
    "pig",
    "turkey",
    "fly",
    "llama",
    "camel",
    "bat",
    "gorilla",
    "hedgehog",
    "kangaroo",
]
ANIMALS = {name: DIFFERENT.get(name, (name, f"{name} face")) for name in NAMES}
"""The 45 animals of Black et al. 2024, with what emoji of them are called."""


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return re.findall(r"[a-z]+", text.lower())


def vectors(texts: Sequence[str]) -> Tensor:
    """`n x 100` mean vectors of the words of texts; zero where none is known."""
    number, rows = _shipped()
    known = [[number[word] for word in words(text) if word in number] for text in texts]
    return torch.stack([rows[row].mean(0) if row else torch.zeros(rows.shape[1]) for row in known])


@cache
def _shipped() -> tuple[dict[str, int], Tensor]:
    """Numbers of the known words, and their vectors, of unit length."""
    with np.load(WORDS) as file:
        return {word: i for i, word in enumerate(file["words"].tolist())}, torch.as_tensor(file["vectors"]).float()
