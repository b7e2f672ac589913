"""Train the networks of judges.py anew: `python -m bbo_bench.tasks.emoji.build_judges`, after build_data.py.

The reward `align` learns from four artists and the `judge` from four others, both in as many ways as there are
concepts; two more artists, whose licences are share-alike, say how good they are on what they have never seen. `taste`
prefers a picture to a spoilt copy of it. A network that the folder has already is not trained again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid
from tqdm import trange

from bbo_bench.seeding import generator, seeded
from bbo_bench.tasks.emoji import judges
from bbo_bench.tasks.emoji.pictures import moved, small, spoilt, varied
from bbo_bench.tasks.emoji.prompts import vectors

SPLIT = {
    "align": ("noto", "twemoji", "fluent-emoji", "fluent-emoji-3d"),
    "judge": ("noto-v1", "emojione", "fluent-emoji-flat", "fxemoji"),
}
"""Which artists a network learns from."""
UPDATES = {"align": 6000, "judge": 6000, "taste": 3000}
BATCH = 96
VALIDATION = 0.08
"""Share of the pictures that no network learns from."""


def trained(network: nn.Module, loss: Callable[[], Tensor], updates: int, name: str) -> None:
    """Train in place by AdamW, its rate falling to zero along a cosine."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=updates, pct_start=0.01)
    network.train()
    for _ in trange(updates, desc=name, mininterval=1):
        optimizer.zero_grad()
        torch.autograd.backward(loss())
        optimizer.step()
        schedule.step()
    network.eval()


def halved(network: nn.Module) -> dict[str, Tensor]:
    """The weights in half precision."""
    return {key: value.half().contiguous() for key, value in network.state_dict().items()}


class Pictures(NamedTuple):
    """What networks learn from."""

    x: Tensor
    """`n x 3 x 64 x 64` bytes."""
    concept: Tensor
    """`n` numbers of what they show."""
    artist: Tensor
    """`n` numbers of who has drawn them."""
    artists: list[str]
    bag: Tensor
    """Mean words of the concepts' names."""
    held_out: Tensor
    """`n` bools: whether no network learns from them."""

    def by(self, artists: Sequence[str]) -> Tensor:
        """`n` bools: which are drawn by these."""
        return torch.isin(self.artist, torch.tensor([self.artists.index(each) for each in artists]))


def read(folder: Path) -> Pictures:
    """What build_data.py has written."""
    with np.load(folder / "concepts.npz") as file:
        x, concept, artist = (torch.as_tensor(file[key]) for key in ("x", "concept", "artist"))
        artists, labels = file["artists"].tolist(), file["labels"].tolist()
    held_out = torch.rand(len(x), generator=generator(0, "held out")) < VALIDATION
    return Pictures(x, concept, artist, artists, vectors(labels), held_out)


def contrast(network: judges.Dual, pictures: Pictures, name: str) -> None:
    """Teach a dual encoder which picture goes with which caption, of its artists' pictures."""
    rng = generator(0, name)
    rows = (pictures.by(SPLIT[name]) & ~pictures.held_out).nonzero()[:, 0]

    def loss() -> Tensor:
        drawn = rows[torch.randint(len(rows), (BATCH,), generator=rng)]
        picture = varied(moved(pictures.x[drawn], rng, 15, (0.75, 1.15), 0.12), rng)
        near = pictures.bag + 0.02 * torch.randn(pictures.bag.shape, generator=rng)
        return cross_entropy(network.logits(picture, near), pictures.concept[drawn], label_smoothing=0.05)

    trained(network, loss, UPDATES[name], name)


def prefer(taste: judges.Taste, pictures: Pictures) -> None:
    """Teach a network to prefer pictures to spoilt copies of them."""
    rng = generator(0, "taste")
    rows = (pictures.by([each for own in SPLIT.values() for each in own]) & ~pictures.held_out).nonzero()[:, 0]

    def loss() -> Tensor:
        drawn = rows[torch.randint(len(rows), (BATCH,), generator=rng)]
        picture = moved(pictures.x[drawn], rng, 10, (0.85, 1.05), 0.08)
        whole, worse = taste(torch.cat([picture, spoilt(picture, rng)])).chunk(2)  # one batch, one normalization
        return -logsigmoid(whole - worse).mean()

    trained(taste, loss, UPDATES["taste"], "taste")


@torch.no_grad()
def standardize(taste: judges.Taste, pictures: Pictures) -> None:
    """Let what a taste says of the pictures that it has learnt from have mean 0 and standard deviation 1."""
    rows = pictures.by([each for own in SPLIT.values() for each in own]) & ~pictures.held_out
    std, mean = torch.std_mean(taste(small(pictures.x[rows])))
    last = taste.image.last
    last.weight /= std
    last.bias.sub_(mean).div_(std)


@torch.no_grad()
def report(networks: judges.Networks, pictures: Pictures) -> None:
    """Say how good the networks are."""
    for name, own in SPLIT.items():
        network = networks.encoder(name)
        unseen = ("openmoji", "emojione-v1")
        masks = {"held-out pictures": pictures.by(own) & pictures.held_out, "artists never seen": pictures.by(unseen)}
        for what, mask in masks.items():
            logits = network.logits(small(pictures.x[mask]), pictures.bag)
            rank = (logits > logits.gather(1, pictures.concept[mask][:, None])).sum(1)
            first, fifth = ((rank < k).double().mean() for k in (1, 5))
            print(f"{name}, {what}: {len(rank)} in {logits.shape[1]} ways, first {first:.3f}, top 5 {fifth:.3f}")
    ours = pictures.by([each for own in SPLIT.values() for each in own])
    taste, whole = networks.taste, small(pictures.x[ours & pictures.held_out])
    share = (taste(whole) > taste(spoilt(whole, generator(0, "spoilt")))).double().mean()
    print(f"taste prefers {share:.3f} of held-out pictures to their spoilt copies")


def main(folder: Path) -> None:
    """Train what is not there yet, say how good the networks are, and write them."""
    pictures = read(folder)
    with seeded(generator(0, "judges")):
        networks = judges.Networks()
    for name, network in networks.named_children():
        file = folder / f"{name}.safetensors"
        if not file.exists():
            if isinstance(network, judges.Dual):
                contrast(network, pictures, name)
            else:
                assert isinstance(network, judges.Taste)
                prefer(network, pictures)
            file.write_bytes(save(halved(network)))
        network.load_state_dict(load_file(file))
    standardize(networks.eval().taste, pictures)
    report(networks, pictures)
    judges.WEIGHTS.write_bytes(save(halved(networks)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/emoji"))
