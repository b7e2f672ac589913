"""The image tasks against Pillow, the data, and what they say of themselves."""

from __future__ import annotations

import gzip
import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from matplotlib.figure import Figure
from PIL import Image as Pillow
from torch import Tensor

from bbo_bench.diffusion.consistency import FILE, distilled_from, fingerprint
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks import image
from bbo_bench.tasks.image import Image, jpeg, networks, pictures, source
from bbo_bench.tasks.image.networks import CLASSES
from bbo_bench.tasks.image.spoilt import WAYS

FOLDER = Path(image.__file__).parent
NAMES = ("image_compress", "image_incompress", "image_class")


def load(name: str) -> Image:
    task = instantiate(find("task", name).settings)
    assert isinstance(task, Image)
    return task


@pytest.fixture(scope="module")
def task() -> Image:
    return load("image")


@pytest.fixture(scope="module")
def samples(task: Image) -> Tensor:
    prior = task.prior()
    return prior.decode(prior.sample(len(task.reference()), generator(0, "quality")))


def labels(part: str) -> Tensor:
    with np.load(FOLDER / "pictures.npz") as file:
        return torch.as_tensor(file[f"{part}_labels"]).long()


def flat(level: float) -> Tensor:
    return torch.full((1, 1, 28, 28), float(level))


def test_sizes_are_those_of_files_that_pillow_writes(tmp_path: Path, task: Image) -> None:
    for x, kilobytes in zip(task.reference()[:5], -task.evaluate(task.reference()[:5]), strict=True):
        levels = (255 * x[0]).round().to(torch.uint8).numpy()
        Pillow.fromarray(levels).save(tmp_path / "x.jpeg", quality=95)
        assert (tmp_path / "x.jpeg").stat().st_size == pytest.approx(1000 * float(kilobytes))
        decoded = np.asarray(Pillow.open(tmp_path / "x.jpeg"), dtype=float)
        assert np.abs(decoded - levels).mean() < 3


def test_flat_pictures_are_the_smallest_and_noise_is_large() -> None:
    noise = torch.rand(20, 1, 28, 28, generator=generator(0, "noise"))
    sizes = [jpeg.kilobytes(x) for x in (torch.cat([flat(0), flat(0.5), flat(1)]), pictures("held_out"), noise)]
    assert sizes[0].max() < 0.36 < sizes[1].min()
    assert sizes[1].max() < sizes[2].min()


def test_steps_below_half_a_grey_level_do_not_count() -> None:
    x = pictures("held_out")[:20]
    torch.testing.assert_close(jpeg.kilobytes((x + 0.4 / 255).clamp(0, 1)), jpeg.kilobytes(x), rtol=0, atol=0)


def test_the_files_quantization_is_that_of_quality_95() -> None:
    file = BytesIO()
    Pillow.new("L", (28, 28)).save(file, "JPEG", quality=jpeg.QUALITY)
    assert Pillow.open(file).quantization[0][:8] == [2, 1, 1, 2, 2, 4, 5, 6]  # (10 t + 50) // 100 of the standard's t


def test_small_and_large_are_opposites() -> None:
    x = pictures("held_out")[:20]
    assert torch.equal(load("image_compress").evaluate(x), -load("image_incompress").evaluate(x))


def test_networks_know_pictures_that_they_have_not_seen(task: Image) -> None:
    x, y = task.reference(), labels("held_out")
    for name, least in {"score": 0.88, "validator": 0.84, "features": 0.88}.items():
        predicted = networks.apply(networks.load(name), x).argmax(1)
        assert (predicted == y).double().mean() > least, name


def test_the_score_is_the_log_probability_of_the_target() -> None:
    task, x = load("image_class"), pictures("held_out")[:50]
    settings = find("task", "image_class").settings
    every = torch.stack([instantiate(settings | {"target": name}).evaluate(x) for name in CLASSES], 1)
    torch.testing.assert_close(every.exp().sum(1), torch.ones(50, dtype=torch.double))
    assert torch.equal(task.evaluate(x), every[:, CLASSES.index(settings["target"])])


def test_the_validator_is_not_fooled_by_what_fools_the_score() -> None:
    task = load("image_class")
    sneakers = pictures("held_out")[labels("held_out") == CLASSES.index("sneaker")][:20]
    x = sneakers.clone()
    for _ in range(20):
        x.requires_grad_(True)
        (gradient,) = torch.autograd.grad(task.evaluate(x).sum(), x)
        x = (x.detach() + 0.02 * gradient.sign()).clamp(sneakers - 0.1, sneakers + 0.1).clamp(0, 1)
    scores = {"before": task.evaluate(sneakers), "after": task.evaluate(x), "validated": task.validate(x)}
    medians = {name: float(score.median()) for name, score in scores.items()}
    assert medians["before"] < -4 and medians["after"] > -1
    assert medians["validated"] < -3


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match="target must be one of t-shirt, trouser"):
        image.Recognition("hat", noise_std=0.1, y_prior=-5.0, best_known=0.0, infeasible_score=-20.0)


def test_data_are_split_and_balanced(task: Image) -> None:
    training, held_out = task.domain.check(task.training_data()), task.domain.check(task.reference())
    assert (len(training), len(held_out)) == (10_000, 512)
    assert labels("training").bincount().tolist() == [1000] * 10
    assert set(labels("held_out").bincount().tolist()) == {51, 52}
    nearest = torch.cdist(training.flatten(1), held_out.flatten(1)).min() * 255 / 28
    assert nearest > 10  # grey levels, root mean square


def test_idx_files_are_read(tmp_path: Path) -> None:
    pixels = np.arange(2 * 784, dtype=np.uint32).astype(np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + pixels.tobytes()))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + bytes([3, 9])))
    read = source.read(tmp_path, "t10k")
    assert np.array_equal(read.pixels.ravel(), pixels) and read.labels.tolist() == [3, 9]


def test_spoilt_flat_and_random_pictures_are_not_valid(task: Image) -> None:
    x, rng = task.reference(), generator(0, "spoilt")
    assert not task.valid(torch.cat([flat(0), flat(0.5), flat(1), task.domain.sample(100, rng)])).any()
    spoilt = {way.__name__: way(x, x.flip(0), rng).clamp(0, 1) for way in WAYS}
    shares = {name: float(task.valid(bad).double().mean()) for name, bad in spoilt.items()}
    assert shares.pop("_covered") < 0.3  # some squares lie on the background
    assert max(shares.values()) < 0.05, shares


@pytest.mark.parametrize("name", NAMES)
def test_extreme_pictures_have_finite_scores(name: str) -> None:
    checkers = ((torch.arange(28) + torch.arange(28)[:, None]) % 2).float()[None, None]
    assert load(name).evaluate(torch.cat([flat(0), flat(1), checkers])).isfinite().all()


def test_pixels_beyond_the_range_are_refused(task: Image) -> None:
    for wrong, message in ((flat(1.01), "must lie in the domain"), (flat(0)[0], "must be `n x 1 x 28 x 28`")):
        with pytest.raises(ValueError, match=message):
            task.domain.check(wrong)


def test_validity_cuts_off_little_of_the_data(task: Image) -> None:
    others = task.training_data()[image.BANK :]
    assert float((task.remoteness(others) <= 1).double().mean()) == pytest.approx(image.NEAR, abs=1e-3)
    assert float((task.spoilt(others) <= 0.5).double().mean()) > 0.98


def test_pictures_of_a_class_are_near_each_other_in_feature_space(task: Image) -> None:
    features, y = task.features(task.reference()), labels("held_out")
    nearest = torch.cdist(features, features).fill_diagonal_(torch.inf).argmin(1)
    assert (y[nearest] == y).double().mean() > 0.75


def test_render_shows_the_picture_alone(task: Image) -> None:
    axes = Figure().subplots()
    task.render(task.reference()[0], axes)
    (shown,) = axes.images
    assert np.array_equal(shown.get_array(), task.reference()[0, 0]) and not axes.axison
    assert shown.get_clim() == (0, 1) and shown.get_cmap().name == "gray"


@pytest.mark.parametrize("name", NAMES)
def test_the_best_known_design_is_valid_and_scores_as_declared(name: str, samples: Tensor) -> None:
    task = load(name)
    x = task.best_design()
    assert x is not None and task.valid(task.domain.check(x[None])).all()
    assert float(task.evaluate(x[None])) == pytest.approx(task.best_known, abs=1e-3)
    known = torch.cat([task.reference(), task.training_data()[:2000], samples])
    assert task.evaluate(known)[task.valid(known)].max() <= task.best_known


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_score_of_the_prior_is_as_declared(name: str, samples: Tensor) -> None:
    task = load(name)
    y = task.evaluate(samples)
    assert float(y.mean()) == pytest.approx(task.y_prior, abs=5 * float(y.std()) / len(y) ** 0.5)


def test_the_prior_is_as_good_as_its_card_says(task: Image, samples: Tensor) -> None:
    from bbo_bench.diffusion.train import quality

    made = yaml.safe_load((task.folder / "prior.yaml").read_text())["made"]
    measured = quality(task, samples)
    assert measured == pytest.approx(made["quality"], rel=0.05)
    assert min(measured["precision"], measured["recall"]) > 0.6
    assert measured["validity"] > 0.8 * measured["validity_of_reference"]
    assert made["data_sha256"] == hashlib.sha256(task.training_data().numpy().tobytes()).hexdigest()


def test_variants_share_a_prior_and_all_weights_take_4_mb_at_most(task: Image) -> None:
    assert {load(name).folder for name in NAMES} == {task.folder}
    assert sum(file.stat().st_size for file in FOLDER.rglob("*.safetensors")) < 4e6


def test_the_consistency_model_is_that_of_the_prior(task: Image) -> None:
    assert distilled_from(task.folder / FILE) == fingerprint(task.prior())
