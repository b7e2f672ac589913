"""The peptide task against published predictions and measurements, known epitopes, and what it says of itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from bbo_bench.diffusion.consistency import FILE, distilled_from, fingerprint
from bbo_bench.diffusion.train import quality
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks import peptide_mhc
from bbo_bench.tasks.peptide_mhc import BINDER, PeptideMHC, best_known, build_data, hydropathy
from bbo_bench.tasks.peptide_mhc.chemistry import COLOURS, HYDROPATHY, RESIDUES, Z_SCALES

FOLDER = Path(peptide_mhc.__file__).parent
EPITOPES = {  # textbook epitopes that HLA-A*02:01 presents
    "GILGFVFTL": "influenza A, matrix protein",
    "NLVPMVATV": "cytomegalovirus, pp65",
    "GLCTLVAML": "Epstein-Barr virus, BMLF1",
    "SLYNTVATL": "HIV, Gag",
}


@pytest.fixture(scope="module")
def task() -> PeptideMHC:
    made = instantiate(find("task", "peptide_mhc").settings)
    assert isinstance(made, PeptideMHC)
    return made


def by_the_book(x: NDArray[np.int64]) -> NDArray[np.float64]:
    """The package's own procedure, in double precision: padded to 15, one letter at a time, the padding skipped."""
    with np.load(FOLDER / "network.npz") as file:
        w = {name: file[name].astype(float) for name in file.files}
    table = np.full((21, 21), (1 - 0.9) / 20)
    np.fill_diagonal(table, 0.9)
    padding = np.full(21, -4_200_000.0)
    scores = []
    for peptide in x:
        h, c = np.zeros(64), np.zeros(64)
        for shown in [*table[peptide], *[padding] * (15 - len(peptide))]:
            if (shown == -4_200_000.0).all():
                continue
            i, f, g, o = np.split(shown @ w["kernel"] + h @ w["recurrent"] + w["bias"], 4)
            i, f, o = (np.clip(0.2 * gate + 0.5, 0, 1) for gate in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
        logit = np.tanh(h @ w["dense"] + w["dense_bias"]) @ w["out"] + w["out_bias"]
        scores.append(1 / (1 + np.exp(-float(logit[0]))))
    return np.array(scores)


def measured() -> tuple[Tensor, NDArray[np.float32]]:
    with np.load(FOLDER / "peptides.npz") as file:
        return torch.as_tensor(file["measured"]).long(), file["measured_score"]


def test_the_network_is_that_of_the_package(task: PeptideMHC) -> None:
    x = torch.cat([task.reference()[:50], task.domain.sample(50, generator(0, "x"))])
    np.testing.assert_allclose(task.evaluate(x).numpy(), by_the_book(x.numpy()), atol=1e-6)


def test_the_network_ranks_as_laboratories_do(task: PeptideMHC) -> None:
    x, scores = measured()
    assert len(x) == 3422
    assert spearmanr(task.evaluate(x), scores).statistic > 0.91
    binds = scores >= BINDER
    assert task.evaluate(x[binds]).mean() > 0.5 > 0.2 > task.evaluate(x[~binds]).mean()


@pytest.mark.parametrize("peptide", EPITOPES)
def test_known_epitopes_bind(task: PeptideMHC, peptide: str) -> None:
    x = task.domain.parse([peptide])
    assert float(task.evaluate(x)) > BINDER and task.valid(x).all()


def test_anchors_matter_most(task: PeptideMHC) -> None:
    x = task.domain.parse(list(EPITOPES))
    change = []
    for position in range(9):
        altered = x.clone()
        altered[:, position] = RESIDUES.index("D")
        change.append(float((task.evaluate(x) - task.evaluate(altered)).mean()))
    assert set(np.argsort(change)[-2:] + 1) == set(peptide_mhc.ANCHORS)


def test_the_score_is_an_affinity(task: PeptideMHC) -> None:
    y = task.evaluate(task.domain.sample(2000, generator(0, "uniform")))
    assert y.dtype == torch.double and (y > 0).all() and (y < 1).all()
    assert y.mean() < 0.15  # few peptides bind
    assert pytest.approx(500, rel=1e-3) == 50_000 ** (1 - BINDER)


def test_no_binder_is_among_the_natural_peptides(task: PeptideMHC) -> None:
    natural = torch.cat([task.training_data(), task.reference()])
    known = task.validate(natural)
    assert 0.05 < known.isfinite().double().mean() < 0.1
    assert known[known.isfinite()].max() < BINDER
    x, scores = measured()
    assert (scores >= BINDER).sum() == 1829  # 500 nM is one
    torch.testing.assert_close(task.validate(x), torch.as_tensor(scores).double())


def test_data_are_split_without_near_duplicates(task: PeptideMHC) -> None:
    training, held_out = task.domain.check(task.training_data()), task.domain.check(task.reference())
    assert (len(training), len(held_out)) == (22529, 512)
    differences = torch.stack([(training != x).sum(1).min() for x in held_out])
    assert differences.min() > 2
    assert max(len(x.unique(dim=0)) - len(x) for x in (training, held_out)) == 0


def test_families_differ_in_so_many_residues() -> None:
    x = build_data.numbers(["AAAAAAAAA", "AAAAAAAAC", "AAAAAAACD", "WWWWWWWWW", "CAAAAAAAA"])
    one, two = build_data.families(x, 1), build_data.families(x, 2)
    assert one[0] == one[1] == one[4] and len(set(one)) == 3
    assert two[0] == two[1] == two[2] == two[4] != two[3]


def test_known_binders_have_the_affinities_of_one_assay(task: PeptideMHC) -> None:
    # nM, of the source's rows by radioactive competition: the median of all measurements of a peptide
    known = {"GILGFVFTL": 4.7, "SLYNTVATL": 55.5, "LLFGYPVYV": 3.8, "KTWGQYWQV": 11.0, "ITDQVPFSV": 84.0}
    scores = task.validate(task.domain.parse(list(known)))
    torch.testing.assert_close(50_000 ** (1 - scores), torch.tensor(list(known.values())).double(), rtol=1e-3, atol=0)
    assert (scores > BINDER).all()
    assert task.validate(task.domain.parse(["NLVPMVATV"])).isnan().all()  # 12 to 19,220 nM by other assays


def test_medians_of_quantitative_measurements_by_one_assay_count() -> None:
    import pandas as pd

    competition = "Sette - purified MHC/competitive/radioactivity"
    rows = [
        ("HLA-A*02:01", "A" * 9, 5.0, "quantitative", competition),
        ("HLA-A*02:01", "A" * 9, 500.0, "quantitative", "Celis - purified MHC/competitive/radioactivity"),
        ("HLA-A*02:01", "A" * 9, 50_000.0, "quantitative", competition),
        ("HLA-A*02:01", "C" * 9, 78_100.0, "quantitative", competition),
        ("HLA-A*02:01", "D" * 9, 100.0, "qualitative", competition),
        ("HLA-A*02:01", "E" * 9, 1.0, "quantitative", "Zaia - cellular MHC/direct/fluorescence"),
        ("HLA-A*02:01", "A" * 9, 1.0, "quantitative", "Buus - purified MHC/competitive/fluorescence"),
        ("HLA-A*02:01", "G" * 9, 1.0, "quantitative", "kim2014"),
        ("HLA-B*07:02", "F" * 9, 1.0, "quantitative", competition),
    ]
    table = pd.DataFrame(rows, columns=["mhc", "peptide", "IC50(nM)", "measurement_type", "measurement_source"])
    scores = build_data.measured(table)
    assert scores.to_dict() == {"A" * 9: pytest.approx(BINDER, abs=1e-3), "C" * 9: 0.0}


def test_files_are_those_that_were_built() -> None:
    for name, digest in {
        "peptides.npz": "ab044b7835befd62b1a78b9d072636e358a3a45672940c2d688b0ff22ee58e23",
        "network.npz": "31aed63adbe350608af17d289e7334c381dace1645e47d01f1b982b85b0b7a28",
    }.items():
        with np.load(FOLDER / name) as file:
            content = hashlib.sha256(b"".join(key.encode() + file[key].tobytes() for key in sorted(file.files)))
        assert content.hexdigest() == digest, name


def test_valid_refuses_what_cannot_be_handled(task: PeptideMHC) -> None:
    x = task.domain.parse(["SLYNTVATL", "ILVFILVFI", "AAAAKAAAV", "AAAAKVRSV"])
    assert float(hydropathy(x)[1]) > task.limit
    assert task.valid(x).tolist() == [True, False, False, True]
    data = torch.cat([task.training_data(), task.reference()])
    assert float((hydropathy(data) <= task.limit).double().mean()) == pytest.approx(0.99, abs=0.002)
    assert float(task.valid(data).double().mean()) > 0.97


def test_hydropathy_is_that_of_kyte_and_doolittle(task: PeptideMHC) -> None:
    assert RESIDUES[HYDROPATHY.argmax()] == "I" and RESIDUES[HYDROPATHY.argmin()] == "R"
    assert float(hydropathy(task.domain.parse(["SIINFEKLA"]))) == pytest.approx(5.7 / 9)


def test_metrics_count_binders_and_substitutions(task: PeptideMHC) -> None:
    natural = task.training_data()[task.evaluate(task.training_data()) < 0.1][:1]
    changed = natural.clone()
    changed[:, :2] = (natural[:, :2] + 1) % 20
    assert task.metrics(natural) == {"binders": 0.0, "substitutions": 0.0}
    assert task.metrics(torch.cat([natural, changed]))["substitutions"] in (0.5, 1.0)  # or it has another neighbour
    assert task.metrics(task.best_design()[None])["binders"] == 1


def test_features_put_like_residues_close_together(task: PeptideMHC) -> None:
    x = task.domain.parse(["SLYNTVATL", "SIYNTVATL", "SDYNTVATL"])
    features = task.features(x)
    assert features.shape == (3, 45)
    assert (features[1] - features[0]).norm() < 0.3 * (features[2] - features[0]).norm()
    assert RESIDUES[Z_SCALES[:, 0].argmin()] == "W" and RESIDUES[Z_SCALES[:, 0].argmax()] == "D"  # lipophilicity


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SLYNTVAT", "9 tokens, got 8"),
        ("SLYNTVATLL", "9 tokens, got 10"),
        ("", "9 tokens, got 0"),
        ("SLYNTVATX", "got 'X'"),
        ("slyntvatl", "ACDEFGHIKLMNPQRSTVWY"),
        ("SLYNT-ATL", "got '-'"),
    ],
)
def test_what_is_no_9_mer_is_refused(task: PeptideMHC, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task.domain.parse([text])


@pytest.mark.parametrize("x", [torch.zeros(2, 8, dtype=torch.long), torch.full((1, 9), 20), torch.zeros(1, 9)])
def test_designs_that_are_no_peptides_are_refused(task: PeptideMHC, x: Tensor) -> None:
    with pytest.raises(ValueError, match=r"designs must be|tokens must be|64-bit integers"):
        task.domain.check(x)


def test_render_shows_the_residues_and_frames_the_anchors(task: PeptideMHC) -> None:
    axes = Figure().subplots()
    task.render(task.domain.parse(["NLVPMVATV"])[0], axes)
    assert [text.get_text() for text in axes.texts if text.get_text().isalpha()] == list("NLVPMVATV")
    assert [text.get_text() for text in axes.texts if text.get_text().isdigit()] == ["2", "9"]
    framed = [position for position, patch in enumerate(axes.patches, 1) if patch.get_linewidth() > 1]
    assert framed == list(peptide_mhc.ANCHORS)
    assert sorted("".join(COLOURS)) == sorted(RESIDUES)


def test_no_neighbour_of_the_best_known_peptide_is_better(task: PeptideMHC) -> None:
    x = task.best_design()
    assert task.valid(x[None]).all() and float(task.evaluate(x[None])) == pytest.approx(task.best_known, abs=1e-4)
    neighbours = best_known.neighbours(x, 20)
    assert len(neighbours) == 1 + 9 * 19 + 36 * 19**2  # the peptide, one substitution, two
    y = task.evaluate(neighbours)
    assert y[task.valid(neighbours)].max() <= task.best_known
    assert best_known.climb(task, x)[0] == task.best_peptide


def test_nothing_known_beats_the_best_known(task: PeptideMHC) -> None:
    x, _ = measured()
    assert task.evaluate(x).max() < task.best_known
    assert task.evaluate(task.training_data()).max() < task.best_known


def test_the_prior_is_as_good_as_its_card_says(task: PeptideMHC) -> None:
    made = yaml.safe_load((FOLDER / "prior.yaml").read_text())["made"]
    prior = task.prior()
    x = prior.decode(prior.sample(512, generator(0, "quality")))
    measured = quality(task, x)
    assert measured == pytest.approx(made["quality"], rel=0.05)
    assert min(measured["precision"], measured["recall"]) > 0.75
    assert measured["validity"] > measured["validity_of_reference"] - 0.03
    assert made["data_sha256"] == hashlib.sha256(task.training_data().numpy().tobytes()).hexdigest()
    assert sum((FOLDER / name).stat().st_size for name in ("prior.safetensors", FILE)) < 1e6
    copies = torch.stack([(task.training_data() == peptide).all(1).any() for peptide in x])
    assert copies.double().mean() < 0.05


def test_the_consistency_model_is_that_of_the_prior(task: PeptideMHC) -> None:
    assert distilled_from(FOLDER / FILE) == fingerprint(task.prior())
