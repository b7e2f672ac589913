"""The molecule task against RDKit, MOSES's own filters, known molecules, and what it says of itself."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import selfies
import torch
import yaml
from hydra.utils import instantiate
from matplotlib.figure import Figure
from rdkit import Chem, DataStructs
from torch import Tensor

from bbo_bench import molecules
from bbo_bench import smiles as notation
from bbo_bench.device import limited_threads
from bbo_bench.metrics.diversity import unique
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.smiles import along_the_longest_path
from bbo_bench.tasks import molecule
from bbo_bench.tasks.molecule import Molecule, chemistry, scores
from bbo_bench.tasks.molecule.build_data import NEAR_DUPLICATE, words

FOLDER = Path(molecule.__file__).parent
NAMES = ("molecule", "molecule_qed", "molecule_plogp", "molecule_celecoxib")
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
CELECOXIB = "Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F"


def load(name: str) -> Molecule:
    task = instantiate(find("task", name).settings)
    assert isinstance(task, Molecule)
    return task


@pytest.fixture(scope="module")
def task() -> Molecule:
    return load("molecule")


def tokens(task: Molecule, text: str) -> Tensor:
    """The design of a string of SELFIES tokens, padded at the end: `1 x 48`."""
    number = {token: i for i, token in enumerate(task.domain.alphabet)}
    row = [number[token] for token in selfies.split_selfies(text)]
    return torch.tensor([row + [0] * (48 - len(row))])


def design(task: Molecule, smiles: str) -> Tensor:
    """The design of a SMILES string."""
    return tokens(task, selfies.encoder(smiles))


def mutated(task: Molecule, n: int) -> Tensor:
    """Training molecules with up to three random tokens."""
    x, rng = task.training_data()[:n].clone(), generator(0, "mutated")
    for i in range(n):
        where = torch.randint(40, (i % 4,), generator=rng)
        x[i, where] = torch.randint(task.domain.size, where.shape, generator=rng)
    return x


@pytest.mark.parametrize(
    ("name", "smiles", "score"),
    [
        ("molecule_qed", ASPIRIN, 0.5501),
        ("molecule_qed", CELECOXIB, 0.7542),
        ("molecule_plogp", "c1ccccc1", 1.6866 - 1.0),
        ("molecule_plogp", "C1CCCCCCC1", 3.1208 - 1.0 - 2),
        ("molecule_celecoxib", CELECOXIB, 0.7542),
    ],
)
def test_known_scores(name: str, smiles: str, score: float) -> None:
    task = load(name)
    assert float(task.evaluate(design(task, smiles))) == pytest.approx(score, abs=1e-4)


def test_known_synthetic_accessibility() -> None:
    assert chemistry.accessibility(ASPIRIN) == pytest.approx(1.58, abs=0.01)
    assert chemistry.accessibility("CN1C2CCC1C(C(C2)OC(=O)c1ccccc1)C(=O)OC") > 3  # cocaine has bridged rings


def test_celecoxib_is_like_itself_alone() -> None:
    task = load("molecule_celecoxib")
    rofecoxib = design(task, "CS(=O)(=O)c1ccc(cc1)C1=C(C(=O)OC1)c1ccccc1")
    assert float(task.evaluate(rofecoxib)) < 0.3 < float(task.evaluate(design(task, CELECOXIB)))


def test_filters_are_those_of_moses(task: Molecule) -> None:
    """MOSES matches every pattern, as it is written, on molecules with explicit hydrogens."""
    with np.load(FOLDER / "filters.npz") as file:
        patterns = [Chem.MolFromSmarts(str(pattern)) for pattern in file["smarts"]]
    assert len(patterns) == 502
    found = [notation.molecule(text) for text in task.domain.text(mutated(task, 60))]
    matched = [
        any(Chem.AddHs(each).HasSubstructMatch(pattern) for pattern in patterns) for each in found if each is not None
    ]
    assert matched == [bool(chemistry._filters().match(each)) for each in found if each is not None]
    assert 5 < sum(matched) < 55


@pytest.mark.parametrize(
    ("smiles", "valid"),
    [
        ("CC(=O)Nc1ccccc1", True),
        ("CCCCl", False),  # an alkyl halide, MCF
        ("Oc1ccccc1O", False),  # a catechol, PAINS
        ("C1CCCCCCC1", False),  # a ring of eight
        ("CP", False),  # phosphorus is no element of MOSES
        ("C[NH]", False),  # a radical
    ],
)
def test_valid_refuses_each_kind_of_defect(task: Molecule, smiles: str, valid: bool) -> None:
    assert chemistry.natural(selfies.encoder(smiles)) is valid


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_molecule_is_infeasible(name: str) -> None:
    task = load(name)
    empty = torch.cat([torch.zeros(1, 48, dtype=torch.long), tokens(task, "[Ring1][Branch1]")])
    assert task.evaluate(empty)[0] == -math.inf and math.isfinite(task.infeasible_score)
    assert not task.valid(empty)[0] and not task.features(empty)[0].any()
    metrics = task.metrics(empty[:1].repeat(4, 1))
    assert math.isnan(metrics["sa"]) and math.isnan(metrics["fcd"])
    task.render(empty[0], axes := Figure().add_subplot())
    assert axes.texts[0].get_text() == "no molecule"


def test_padding_in_the_middle_is_skipped(task: Molecule) -> None:
    x = design(task, ASPIRIN)
    apart = torch.cat([x[:, :5], torch.zeros(1, 9, dtype=torch.long), x[:, 5:39]], 1)
    assert task.evaluate(apart) == task.evaluate(x)
    assert torch.equal(task.canonical(apart), task.canonical(x))


def test_unknown_tokens_and_wrong_lengths_are_refused(task: Molecule) -> None:
    x = task.reference()[:2]
    for wrong, message in (
        (x[:, :47], r"`n x 48`, got \(2, 47\)"),
        (x + task.domain.size, f"from 0 to {task.domain.size - 1}, but sequence 0 has"),
        (x - 100, "numbers from 0"),
        (x.double(), "64-bit integers"),
    ):
        with pytest.raises(ValueError, match=message):
            task.domain.check(wrong)


def test_one_molecule_written_in_two_ways_counts_once(task: Molecule) -> None:
    x = torch.cat([design(task, smiles) for smiles in (ASPIRIN, "OC(=O)c1ccccc1OC(C)=O", "CCO")])
    assert unique(x) == 1 and unique(task.canonical(x)) == pytest.approx(2 / 3)
    torch.testing.assert_close(task.features(x[:1]), task.features(x[1:2]))


def test_distances_of_features_are_those_of_tanimoto(task: Molecule) -> None:
    x = task.reference()[:128]
    bits = [DataStructs.CreateFromBitString("".join(map(str, molecules.fingerprint(t)))) for t in task.domain.text(x)]
    similarity = torch.tensor([DataStructs.BulkTanimotoSimilarity(each, bits) for each in bits])
    squared = torch.cdist(task.features(x), task.features(x)).square()
    expected = 2 - 4 * similarity / (1 + similarity)
    rows, columns = torch.triu_indices(len(x), len(x), 1)
    assert float((squared - expected)[rows, columns].abs().mean()) < 0.12
    both = torch.stack([squared[rows, columns], -similarity[rows, columns]]).argsort(1).argsort(1).double()
    assert float(both.corrcoef()[0, 1]) > 0.7


def test_metrics_of_molecules(task: Molecule) -> None:
    x = task.reference()[:64]
    metrics, twice = task.metrics(x), task.metrics(x[:1].repeat(4, 1))
    assert 2 < metrics["sa"] < 3 and 0.8 < metrics["tanimoto"] < 0.95
    assert metrics.keys() == twice.keys() == {"sa", "tanimoto", "fcd"}
    assert twice["tanimoto"] == pytest.approx(0)


def test_what_is_no_molecule_adds_no_diversity(task: Molecule) -> None:
    padding, x = torch.zeros(4, 48, dtype=torch.long), task.reference()[:3]
    for few in (padding, padding[:0], x[:1], torch.cat([padding, x[:1]])):
        assert math.isnan(task.metrics(few)["tanimoto"])
    assert task.metrics(torch.cat([padding, x])) == pytest.approx(task.metrics(x), nan_ok=True)
    assert task.canonical(padding).unique().numel() == 1


@pytest.mark.slow
def test_processes_give_the_same_scores(task: Molecule) -> None:
    x = torch.cat([task.reference()[:24], torch.zeros(1, 48, dtype=torch.long)])
    with limited_threads(1):
        alone = task.evaluate(x), task.valid(x), task.features(x)
    with limited_threads(2):
        together = task.evaluate(x), task.valid(x), task.features(x)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_writing_along_the_longest_path_keeps_the_molecule(task: Molecule) -> None:
    for text in task.domain.text(task.reference()[:200]):
        smiles = notation.smiles(text)
        again = selfies.encoder(along_the_longest_path(smiles))
        assert notation.smiles(again) == smiles
        assert again == selfies.encoder(along_the_longest_path(notation.smiles(again))), "one way to write it"


@pytest.mark.parametrize(
    ("smiles", "written"),
    [
        ("CCO", "CCO"),
        ("CC(CCC)C", "CCCC(C)C"),
        ("c1ccc(cc1)CCO", "OCCC(C=C%01)=CC=C%01"),  # to the atom across the ring, whose other half is a branch
        ("Cc1ccc(C)cc1", "CC(=CC=%01)C=CC%01C"),
        ("N#CC1CC1", "N#CC(C%01)C%01"),
    ],
)
def test_the_longest_path_by_hand(smiles: str, written: str) -> None:
    assert along_the_longest_path(smiles) == written


def test_words_are_merged_pairs() -> None:
    texts = [["a", "b", "a", "b", "c"], ["a", "b", "c", "c"]]
    assert words(texts, 2) == ["ab", "abc"]


def test_every_design_is_spelt_in_the_longest_words(task: Molecule) -> None:
    codec = task.codec()
    for x in (task.reference(), task.domain.sample(100, generator(0))):
        spelt = [[token for word in text for token in codec._tokens[word] if token] for text in codec.spell(x)]
        tokens = [[token for token in row if token] for row in x.tolist()]
        assert all(text == row[: len(text)] for text, row in zip(spelt, tokens, strict=True))
    words = (torch.tensor(codec.spell(task.reference())) > 0).sum(1).double().mean()
    assert words < 0.3 * (task.reference() > 0).sum(1).double().mean(), "benzene is one word, not eight tokens"


def test_latents_and_designs_tell_of_each_other(task: Molecule) -> None:
    """Latents are standardized; those of a sample's design are close to the sample."""
    prior = task.prior()
    assert float(prior.encode(task.training_data()[:2000]).std()) == pytest.approx(1, abs=0.05)
    z = prior.sample(256, generator(0))
    again = prior.encode(prior.decode(z))
    assert float(torch.stack([(z - z.mean(0)).flatten(), (again - again.mean(0)).flatten()]).corrcoef()[0, 1]) > 0.6


def test_the_writer_stops_at_the_padding_and_knows_only_tokens(task: Molecule) -> None:
    prior = task.prior()
    x = task.domain.check(prior.decode(3 * torch.randn(200, *prior.latent_shape, generator=generator(0))))
    assert ((x[:, 1:] == 0) | (x[:, :-1] > 0)).all(), "nothing is written behind the end"
    assert torch.equal(x[:7], prior.decode(3 * torch.randn(200, *prior.latent_shape, generator=generator(0))[:7]))


def test_weights_survive_their_half_precision(task: Molecule) -> None:
    codec = task.codec()
    with torch.no_grad():
        codec.choice.weight.copy_(torch.randn(codec.choice.weight.shape, generator=generator(0)))
    assert all(value.dtype == torch.half for value in codec.state_dict().values())
    other = task.codec()
    other.load_state_dict(codec.state_dict())
    torch.testing.assert_close(other.choice.weight, codec.choice.weight.half().float(), rtol=0, atol=0)


def test_data_are_split_without_near_duplicates(task: Molecule) -> None:
    training, held_out = task.domain.check(task.training_data()), task.domain.check(task.reference())
    assert (len(training), len(held_out)) == (50_000, 512)
    few = training[:: len(training) // 500]
    a, b = (torch.tensor(np.stack([molecules.fingerprint(t) for t in task.domain.text(x)])) for x in (few, held_out))
    common = a.double() @ b.double().T
    assert float((common / (a.sum(1)[:, None] + b.sum(1) - common)).max()) < NEAR_DUPLICATE
    assert task.valid(held_out).double().mean() > 0.99


def test_data_are_as_built(task: Molecule) -> None:
    digests = {
        name: hashlib.sha256(np.load(FOLDER / name[0])[name[1]].tobytes()).hexdigest()[:16]
        for name in (("molecules.npz", "x"), ("filters.npz", "smarts"))
    }
    assert list(digests.values()) == ["67217cdc85cd5807", "c202f79de916a734"]
    assert sum((FOLDER / name).stat().st_size for name in ("molecules.npz", "filters.npz")) < 1e6


def test_render_draws_a_structure(task: Molecule) -> None:
    axes = Figure().add_subplot()
    task.render(design(task, ASPIRIN)[0], axes)
    (image,) = axes.images
    picture = np.asarray(image.get_array())
    assert picture.shape[:2] == (400, 400) and (picture[..., 0] != picture[..., 2]).any()  # oxygen is red


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_best_known_design_is_the_best(name: str) -> None:
    task = load(name)
    x = task.best_design()
    assert x is not None and task.valid(task.domain.check(x[None])).all()
    assert float(task.evaluate(x[None])) == pytest.approx(task.best_known, abs=1e-3)
    few = task.training_data()[:500]
    assert task.evaluate(few).max() < task.best_known


def test_the_task_without_a_surname_is_that_of_qed() -> None:
    first, second = (find("task", name).settings for name in NAMES[:2])
    assert first == second


def test_the_prior_is_as_good_as_its_card_says(task: Molecule) -> None:
    from bbo_bench.diffusion.train import quality

    recipe = yaml.safe_load((FOLDER / "prior.yaml").read_text())
    made, prior = recipe["made"], task.prior()
    measured = quality(task, prior.decode(prior.sample(len(task.reference()), generator(0, "quality"))))
    assert measured == pytest.approx(made["quality"], rel=0.1, abs=0.02)
    assert made["data_sha256"] == hashlib.sha256(task.training_data().numpy().tobytes()).hexdigest()
    assert sum(file.stat().st_size for file in FOLDER.glob("*.safetensors")) < 4e6


def test_scores_without_a_molecule() -> None:
    for score in (scores.DrugLikeness(), scores.PenalizedLogP(), scores.SimilarityTimesQED(CELECOXIB)):
        assert score("[nop]") == -math.inf


def test_constraints_that_others_set_in_selfies_change_nothing(task: Molecule) -> None:
    x = torch.cat((task.reference()[:6], mutated(task, 6)))
    strange = dict.fromkeys("CNOSF", 1) | {"?": 1}
    judges = (task.evaluate, task.valid, task.features, task.canonical)
    before = [judge(x) for judge in judges]
    usual = selfies.get_semantic_constraints()
    try:
        selfies.set_semantic_constraints(strange)
        assert selfies.decoder("[C][C][C]") == "CC"
        after = [judge(x) for judge in judges]
        assert selfies.get_semantic_constraints() == strange
    finally:
        selfies.set_semantic_constraints(usual)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
