"""The Ehrlich functions against pytorch-holo's recorded values, values worked out by hand, and what they say."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from matplotlib.figure import Figure
from torch import Tensor

from bbo_bench.diffusion.consistency import FILE, distilled_from, fingerprint
from bbo_bench.diffusion.train import quality
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks import ehrlich
from bbo_bench.tasks.ehrlich import ALPHABET, STATES, Ehrlich
from bbo_bench.tasks.ehrlich.build_data import QUANTILE, sequences
from bbo_bench.tasks.ehrlich.denoiser import Chain
from bbo_bench.tasks.ehrlich.function import EhrlichFunction, stationary

FOLDER = Path(ehrlich.__file__).parent
HOLO = Path(__file__).with_name("ehrlich_holo.npz")
NAMES = ("ehrlich_32", "ehrlich_128", "ehrlich_256")


@cache
def load(name: str = "ehrlich", **settings: object) -> Ehrlich:
    task = instantiate({**find("task", name).settings, **settings})
    assert isinstance(task, Ehrlich)
    return task


@cache
def prior_samples(name: str) -> Tensor:
    prior = load(name).prior()
    return prior.decode(prior.sample(256, generator(0, "quality")))


def recorded() -> list[str]:
    with np.load(HOLO) as file:
        return [name.removesuffix(" values") for name in file if name.endswith("values")]


@pytest.mark.parametrize("case", recorded())
def test_values_are_those_of_pytorch_holo(case: str) -> None:
    *sizes, epistasis, seed = case.split("-")
    states, length, motifs, motif_length, quantization = map(int, sizes)
    function = EhrlichFunction.draw(
        states, length, motifs, motif_length, quantization, float(epistasis), seed=int(seed)
    )
    with np.load(HOLO) as file:
        x, expected = torch.as_tensor(file[f"{case} designs"]).long(), torch.as_tensor(file[f"{case} values"])
    assert len(set(expected.tolist())) > 5 and expected.isinf().any() and expected.max() == 1
    assert torch.equal(function(x), expected.double())


def test_the_record_has_ten_thousand_designs_of_several_seeds() -> None:
    with np.load(HOLO) as file:
        assert sum(len(file[f"{case} values"]) for case in recorded()) == 10_000
    assert {case.rsplit("-", 1)[1] for case in recorded()} == set("01234")


def by_hand(quantization: int = 4, epistasis: float = 0.0) -> EhrlichFunction:
    """Motifs `0 1 . 2 3` and `4 . 4 . 4 4` in 12 tokens; only 5 after 0 is banned."""
    transitions = torch.full((6, 6), 1 / 6)
    transitions[0, 5] = 0
    drawn = EhrlichFunction.draw(6, 12, 2, 4, quantization, epistasis)
    motifs, offsets = torch.tensor([[0, 1, 2, 3], [4, 4, 4, 4]]), torch.tensor([[0, 1, 3, 4], [0, 2, 4, 5]])
    return drawn._replace(transitions=transitions, motifs=motifs, offsets=offsets)


@pytest.mark.parametrize(
    ("design", "elements", "score"),
    [
        ("015234545440", (4, 4), 1.0),
        ("015254545440", (3, 4), 0.75),
        ("015251414000", (3, 2), 0.375),
        ("333333333333", (1, 0), 0.0),
        ("555555555012", (0, 0), 0.0),  # `0 1 . 2` is there, but the motif would reach beyond the end
        ("051234545440", (3, 4), -math.inf),
    ],
)
def test_scores_by_hand(design: str, elements: tuple[int, int], score: float) -> None:
    x = torch.tensor([[int(token) for token in design]])
    assert tuple(by_hand().matches(x)[0].tolist()) == elements
    assert float(by_hand()(x)) == score


def test_quantization_rounds_down_and_epistasis_lowers_what_is_between() -> None:
    x = torch.tensor([[0, 1, 5, 2, 0, 4, 1, 4, 1, 4, 4, 0]])  # 3 of 4, and 4 of 4
    assert float(by_hand(quantization=2)(x)) == 0.5
    assert float(by_hand(epistasis=0.8)(x)) == pytest.approx(0.75 * (1 - 0.8 * 0.75 * 0.25))


def test_quantization_must_divide_the_motifs_and_they_must_fit() -> None:
    with pytest.raises(ValueError, match="a quantization that divides"):
        EhrlichFunction.draw(32, 32, 4, 4, 3)
    with pytest.raises(ValueError, match="9 motifs of 4 tokens do not fit into 32"):
        EhrlichFunction.draw(32, 32, 9, 4, 4)
    with pytest.raises(ValueError, match="take more states"):
        EhrlichFunction.draw(2, 32, 2, 4, 4, seed=2)
    with pytest.raises(InstantiationException, match=r"sequences of \[32, 128, 256\] tokens, got length=64"):
        load(length=64)


@pytest.mark.parametrize("name", NAMES)
def test_the_chain_is_ergodic_its_motifs_feasible_and_all_tasks_share_it(name: str) -> None:
    function = load(name).function
    assert torch.equal(function.transitions, load().function.transitions)
    torch.testing.assert_close(function.transitions.sum(1), torch.ones(STATES))
    torch.testing.assert_close(
        stationary(function.transitions) @ function.transitions.double(), stationary(function.transitions)
    )
    assert (function.transitions.diagonal() > 0).all()
    assert 0.15 < float((function.transitions == 0).double().mean()) < 0.25
    chained = function.motifs.flatten()
    assert (function.transitions[chained[:-1], chained[1:]] > 0).all()
    assert int(function.offsets.max()) * len(function.motifs) < function.length


@pytest.mark.parametrize("name", NAMES)
def test_the_optimum_is_attained_and_fragile(name: str) -> None:
    task = load(name)
    x = task.domain.check(task.best_design()[None])
    assert task.valid(x).all() and float(task.evaluate(x)) == task.best_known == 1
    place = int(task.function.places(x[0])[0, 0])
    changed = x.repeat(STATES, 1)
    changed[:, place] = torch.arange(STATES)
    y = task.evaluate(changed)
    assert (y[torch.arange(STATES) != x[0, place]] < 1).all()


def test_uniform_designs_are_rarely_feasible() -> None:
    for name, most in (("ehrlich_32", 0.001), ("ehrlich_128", 0.0)):
        x = load(name).domain.sample(50_000, generator(0, "uniform"))
        assert load(name).valid(x).double().mean() <= most


@pytest.mark.parametrize("name", NAMES)
def test_data_are_feasible_poor_and_those_that_the_script_draws(name: str) -> None:
    task = load(name)
    x = task.domain.check(torch.cat([task.training_data(), task.reference()]))
    assert task.valid(x).all() and len(task.reference()) == 256
    assert len(torch.unique(x, dim=0)) == len(x)
    assert task.evaluate(x).max() < 0.05
    anew = sequences(task.function)
    for part, kept in (("training", task.training_data()), ("reference", task.reference())):
        same = torch.as_tensor(anew[f"{part}_{task.function.length}"]).long() == kept
        assert same.double().mean() > 0.99  # all, unless this processor rounds otherwise


def test_the_share_of_data_left_out_is_small() -> None:
    function = load().function
    y = function(function.sample(2000, generator(1)))
    assert float((y <= y.quantile(QUANTILE)).double().mean()) >= QUANTILE


def test_features_are_distances_between_profiles_of_pairs() -> None:
    task = load()
    x = task.reference()
    pairs = x[:, :-1] * STATES + x[:, 1:]
    profile = torch.nn.functional.one_hot(pairs, STATES**2).sum(1).double() / 31**0.5
    ratio = torch.pdist(task.features(x)) / torch.pdist(profile)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05) and float(ratio.std()) < 0.15


def test_a_chain_that_knows_the_transitions_gives_the_exact_marginals() -> None:
    chain = Chain(3, ehrlich.SCALE, rounds=3, sharpness=2.0, width=8, depth=1, kernel=3)
    weights, unary = torch.rand(2, 3, 3, generator=generator(0)).log_softmax(-1)
    chain.transitions.data = weights / 2
    joint = torch.einsum("a,b,c,ab,bc->abc", *unary.exp(), weights.exp(), weights.exp())
    expected = torch.stack([joint.sum((1, 2)), joint.sum((0, 2)), joint.sum((0, 1))]) / joint.sum()
    torch.testing.assert_close(chain.marginals(unary[None])[0], expected)


def test_unknown_tokens_and_other_lengths_are_refused() -> None:
    domain = load().domain
    x = load().reference()[:2].clone()
    with pytest.raises(ValueError, match=r"designs must be `n x 32`, got \(2, 31\)"):
        domain.check(x[:, :-1])
    x[1, 3] = 32
    with pytest.raises(ValueError, match="tokens must be numbers from 0 to 31, but sequence 1 has 32 at position 3"):
        domain.check(x)
    with pytest.raises(ValueError, match="got '9'"):
        domain.parse(["9" * 32])


def test_render_shows_tokens_and_which_elements_are_in_place() -> None:
    task, axes = load(), Figure().subplots()
    x = task.best_design()
    x = torch.where(torch.arange(32) == int(task.function.places(x)[0, 0]), (x + 1) % STATES, x)
    task.render(x, axes)
    assert "".join(text.get_text() for text in axes.texts) == task.domain.text(x[None])[0]
    frames = [patch for patch in axes.patches if not patch.get_fill()]
    assert len(axes.patches) - len(frames) == 32 and len(frames) == 16
    assert sum(frame.get_linestyle() in ("-", "solid") for frame in frames) == int(task.function.matches(x[None]).sum())
    assert len(ALPHABET) == STATES


@pytest.mark.parametrize(("name", "validity"), [("ehrlich_32", 0.95), ("ehrlich_128", 0.9), ("ehrlich_256", 0.8)])
def test_the_prior_is_as_good_as_its_card_says(name: str, validity: float) -> None:
    task = load(name)
    measured = quality(task, prior_samples(name))
    assert measured["validity"] >= validity
    assert min(measured["precision"], measured["recall"]) > 0.6
    assert task.evaluate(prior_samples(name)).max() < 0.1


def test_the_prior_is_made_as_recorded() -> None:
    task = load()
    made = yaml.safe_load((FOLDER / "prior.yaml").read_text())["made"]
    assert quality(task, prior_samples("ehrlich_32")) == pytest.approx(made["quality"], rel=0.05, abs=0.01)
    assert made["data_sha256"] == hashlib.sha256(task.training_data().numpy().tobytes()).hexdigest()
    assert made["weights"] < 1e6 and (FOLDER / "prior.safetensors").stat().st_size < 4e6


def test_the_consistency_model_is_that_of_the_prior_and_of_all_lengths() -> None:
    assert (FOLDER / FILE).stat().st_size < 1e6
    assert all(distilled_from(FOLDER / FILE) == fingerprint(load(name).prior()) for name in NAMES)
