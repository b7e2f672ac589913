"""The RNA task against known tRNAs, ViennaRNA, Infernal, and what it says of itself."""

from __future__ import annotations

import hashlib
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from matplotlib.figure import Figure

pytest.importorskip("RNA", reason="ViennaRNA is not installed")

import RNA

from bbo_bench.diffusion.consistency import FILE, distilled_from, fingerprint
from bbo_bench.diffusion.train import quality
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks import rna
from bbo_bench.tasks.rna import TRNA, build_data
from bbo_bench.tasks.rna.cloverleaf import (
    CONSENSUS,
    CONSENSUS_PAIRS,
    POSITIONS,
    agreement,
    bases,
    common,
    distance,
    pairs,
    target,
)
from bbo_bench.tasks.rna.folding import ensemble_defect, fold, pair_probabilities

FOLDER = Path(rna.__file__).parent
YEAST_PHE = "GCGGAUUUAGCUCAGUU-GGG--AGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCA"
"""tRNA(Phe) of yeast without its modifications and its CCA, position by position."""
COLI_PHE = "GCCCGGAUAGCUCAGUC-GGU--AGAGCAGGGGAUUGAAAAUCCCCGUGUCCUUGGUUCGAUUCCGAGUCCGGGCA"
YEAST_PHE_CCA = "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA"
COLI_PHE_CCA = "GCCCGGAUAGCUCAGUCGGUAGAGCAGGGGAUUGAAAAUCCCCGUGUCCUUGGUUCGAUUCCGAGUCCGGGCACCA"
COLI_ALA = "GGGGCUAUAGCUCAGCU-GGG--AGAGCGCUUGCAUGGCAUGCAAGAGGUCAGCGGUUCGAUCCCGCUUAGCUCCA"
HAIRPIN = "G" * 36 + "UUCG" + "C" * 36

needs_infernal = pytest.mark.skipif(
    shutil.which("cmemit") is None or not build_data.MODEL.exists(),
    reason="Infernal and its model are not installed",
)


@pytest.fixture(scope="module")
def task() -> TRNA:
    task = instantiate(find("task", "rna").settings)
    assert isinstance(task, TRNA)
    return task


def test_the_cloverleaf_has_its_four_stems_at_their_numbered_positions() -> None:
    assert len(POSITIONS) == len(CONSENSUS) == 76
    stems = {"1": "72", "7": "66", "10": "25", "13": "22", "27": "43", "31": "39", "49": "65", "53": "61"}
    numbered = {POSITIONS[i]: POSITIONS[j] for i, j in CONSENSUS_PAIRS}
    assert len(numbered) == 7 + 4 + 5 + 5
    assert stems.items() <= numbered.items()


def test_yeast_phenylalanine_trna_folds_into_the_cloverleaf(task: TRNA) -> None:
    x = task.domain.parse([YEAST_PHE])
    assert YEAST_PHE[POSITIONS.index("34") :][:3] == "GAA"  # the anticodon of phenylalanine
    assert fold(bases(YEAST_PHE)).structure == target(YEAST_PHE)
    assert task.evaluate(x).tolist() == [22.4]
    assert task.distances(x).tolist() == [0] and task.valid(x).all()


def test_a_longer_stem_is_still_a_cloverleaf_and_another_fold_is_none(task: TRNA) -> None:
    x = task.domain.parse([COLI_PHE, COLI_ALA])  # the anticodon stem closes by two pairs more; a well-known misfold
    assert task.evaluate(x).tolist() == pytest.approx([34.1, 29.0])
    assert task.distances(x)[0] == 2
    assert task.valid(x).tolist() == [True, False]


def test_a_hairpin_of_guanine_and_cytosine_wins_on_energy_and_is_no_cloverleaf(task: TRNA) -> None:
    x = task.domain.parse([HAIRPIN])
    assert float(task.evaluate(x)) > 1.5 * task.best_known
    assert not task.valid(x).any()
    assert float(task.validate(x)) < 0.3 < 0.8 < float(task.validate(task.reference()[:20]).min())


def test_scores_are_those_of_viennarna(task: TRNA) -> None:
    x = task.reference()[:20]
    expected = [-RNA.fold(sequence.replace("-", ""))[1] for sequence in task.domain.text(x)]
    torch.testing.assert_close(task.evaluate(x), torch.tensor(expected, dtype=torch.double), atol=1e-5, rtol=0)


def test_processes_change_nothing(task: TRNA) -> None:
    x, threads = task.reference()[:16], torch.get_num_threads()
    results = []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append((task.evaluate(x), task.valid(x), task.validate(x)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_one_molecule_has_one_verdict(task: TRNA) -> None:
    sequence = bases(YEAST_PHE)
    scattered = "".join(base + "-" * (i in (5, 30, 60)) for i, base in enumerate(sequence))
    x = task.domain.parse([YEAST_PHE, sequence.ljust(76, "-"), sequence.rjust(76, "-"), scattered])
    assert task.domain.text(task.canonical(x)) == [sequence.ljust(76, "-")] * 4
    assert task.evaluate(x).tolist() == [22.4] * 4
    assert task.distances(x).tolist() == [0] * 4 and task.valid(x).all()
    assert len(set(task.validate(x).tolist())) == 1 and 0.4 < float(task.validate(x)[0]) < 0.6
    assert task.features(x).unique(dim=0).shape == (1, 79 * 3)


def test_all_that_judges_depends_on_the_molecule_alone(task: TRNA) -> None:
    rng = generator(0, "gaps")
    x = torch.cat((task.reference()[:8], task.domain.sample(8, rng), task.best_design()[None]))
    moved = task.canonical(x).clone()
    for row in moved:
        held = torch.rand(76, generator=rng).topk(int((row != 4).sum())).indices.sort().values
        kept, row[:] = row[row != 4].clone(), 4
        row[held] = kept
    assert not torch.equal(moved, x)
    for judge in (task.canonical, task.evaluate, task.valid, task.distances, task.validate, task.features):
        assert torch.equal(judge(moved), judge(x)), judge


def test_trnas_with_their_tail_are_cloverleaves(task: TRNA) -> None:
    x = task.domain.parse([YEAST_PHE_CCA, COLI_PHE_CCA])
    assert fold(YEAST_PHE_CCA).structure == target(YEAST_PHE) + "..."
    assert task.distances(x).tolist() == [0, 2] and task.valid(x).all()
    without = task.domain.parse([YEAST_PHE, COLI_PHE])
    torch.testing.assert_close(task.validate(x), task.validate(without), atol=0.02, rtol=0)
    assert not torch.equal(task.canonical(x), task.canonical(without))


def test_the_profile_gives_real_trnas_their_numbered_positions(task: TRNA) -> None:
    for whole, aligned in ((YEAST_PHE_CCA, YEAST_PHE), (COLI_PHE_CCA, COLI_PHE)):
        for sequence, tail in ((whole, "CCA"), (bases(aligned), "---")):
            (found,) = task._profile.align(task.domain.parse([sequence.ljust(76, "-")])).tolist()
            assert "".join("ACGU-"[token] for token in found) == aligned + tail


def test_the_profile_keeps_every_base_and_mostly_the_places_of_the_data(task: TRNA) -> None:
    x = torch.cat((task.reference(), task.domain.sample(20, generator(0, "any")), torch.full((1, 76), 4)))
    aligned = task._profile.align(x)
    assert ["".join("ACGU-"[i] for i in row if i < 4) for row in aligned.tolist()] == list(
        map(bases, task.domain.text(x))
    )
    kept = (aligned[:512, :76] == task.reference()).all(1) & (aligned[:512, 76:] == 4).all(1)
    stems = torch.tensor([symbol != "." for symbol in CONSENSUS])
    assert float(kept.double().mean()) > 0.75
    assert float((aligned[:512, :76] == task.reference())[:, stems].all(1).double().mean()) > 0.95
    assert task.features(x[:0]).shape == (0, 79 * 3)


def test_the_placing_of_bases_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for n in (76, 77):
        weights = np.triu(rng.random((n, n)), 1)
        places = (np.delete(np.arange(79), gaps) for gaps in combinations(range(79), 79 - n))
        best = max(
            sum(weights[at[i], at[j]] for i, j in CONSENSUS_PAIRS if i in at and j in at)
            for at in ({int(p): i for i, p in enumerate(place)} for place in places)
        )
        assert common(weights) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("design", ["-" * 76, "A" * 76, "-" * 75 + "G", "GAAAC".ljust(76, "-")])
def test_what_does_not_fold_scores_nothing_and_is_invalid(task: TRNA, design: str) -> None:
    x = task.domain.parse([design])
    assert task.evaluate(x).tolist() == [0] and not task.valid(x).any()
    assert 0 <= float(task.validate(x)) < 0.5


def test_malformed_sequences_are_refused(task: TRNA) -> None:
    with pytest.raises(ValueError, match="76 tokens, got 73"):
        task.domain.parse([bases(YEAST_PHE)])
    with pytest.raises(ValueError, match="got 'T'"):
        task.domain.parse([YEAST_PHE.replace("U", "T")])
    with pytest.raises(ValueError, match="from 0 to 4"):
        task.domain.check(torch.full((1, 76), 5))


def test_pairs_and_distances_by_hand() -> None:
    assert pairs("(.(..))") == {(0, 6), (2, 5)}
    assert distance("") == distance("." * 76) == 21
    assert distance(CONSENSUS) == distance(CONSENSUS[:17] + CONSENSUS[20:]) == 0
    assert distance(CONSENSUS[1:74] + "..") == 1  # without the outermost pair
    assert distance(f"{CONSENSUS[:8]}({CONSENSUS[9:28]}){CONSENSUS[29:]}") == 1  # with a D arm of five
    assert distance("(" * 36 + "...." + ")" * 36) == 21 + 36
    assert distance("(" * 12 + "......." + ")" * 12) == 21 + 12 - 2 * 12  # seven of the acceptor, five of the next arm


def test_the_agreement_of_an_ensemble_by_hand() -> None:
    certain = np.zeros((76, 76))
    certain[tuple(np.array(sorted(CONSENSUS_PAIRS)).T)] = 1
    assert agreement(certain) == 1 and agreement(certain / 2) == pytest.approx(2 / 3)
    certain[0, 10] = 1
    assert agreement(certain) == pytest.approx(42 / 43)
    assert agreement(np.zeros((0, 0))) == agreement(np.zeros((76, 76))) == 0


def test_pair_probabilities_are_those_of_the_ensemble_defect() -> None:
    sequence, structure = "GCAGCCGAAAGGCUGC", "((((((....))))))"
    p = pair_probabilities(sequence)
    assert np.array_equal(p, np.triu(p, 1)) and p.shape == (16, 16)
    shared = 2 * sum(p[i, j] for i, j in pairs(structure)) + sum(1 - p[i].sum() - p[:, i].sum() for i in range(6, 10))
    assert 1 - shared / 16 == pytest.approx(ensemble_defect(sequence, structure), abs=1e-9)


def test_a_pair_that_lacks_a_base_is_open_in_the_target() -> None:
    whole = "A" * 76
    assert target(whole) == CONSENSUS
    assert target("-" + whole[1:]) == CONSENSUS[1:74] + ".."


def test_the_ensemble_defect_of_a_sequence_that_only_folds_one_way_is_small() -> None:
    assert ensemble_defect("GCAGCCGAAAGGCUGC", "((((((....))))))") < 0.02
    assert ensemble_defect("GCAGCCGAAAGGCUGC", "." * 16) > 0.7


def test_held_out_data_are_valid_and_the_limit_is_their_own(task: TRNA) -> None:
    distances = task.distances(task.reference())
    assert int(distances.max()) == task.max_distance
    assert float(distances.double().quantile(0.95)) <= 3
    assert float(task.validate(task.reference()[:20]).min()) > 0.8


def test_uniform_sequences_do_not_fold_into_cloverleaves(task: TRNA) -> None:
    x = task.domain.sample(200, generator(0, "uniform"))
    assert not task.valid(x).any()
    assert task.evaluate(x).isfinite().all() and float(task.evaluate(x).mean()) < task.y_prior - 8


def test_data_are_distinct_and_split_without_near_duplicates(task: TRNA) -> None:
    training, held_out = task.domain.check(task.training_data()), task.domain.check(task.reference())
    assert (len(training), len(held_out)) == (4488, 512)
    assert len({bases(design) for design in task.domain.text(torch.cat((training, held_out)))}) == 5000
    differences = torch.stack([(x != training).sum(1).min() for x in held_out])
    assert int(differences.min()) >= 5


@pytest.mark.slow
def test_all_data_keep_to_the_limit_of_their_script(task: TRNA) -> None:
    designs = task.domain.text(torch.cat((task.reference(), task.training_data())))
    assert all(ensemble_defect(bases(each), target(each)) < build_data.MAX_DEFECT for each in designs)


def test_features_count_differences(task: TRNA) -> None:
    x = task.domain.parse([YEAST_PHE, "A" + YEAST_PHE[1:], "-" + YEAST_PHE[1:]])
    squared = torch.cdist(task.features(x).double(), task.features(x).double()).square()
    torch.testing.assert_close(squared[0], torch.tensor([0, 1, 0.375]).double(), atol=1e-4, rtol=0)


def test_places_of_inserted_bases() -> None:
    emitted = "GCGGAUUUAGCUCAGUuGGGAGAGCGCCAGACUGAAGAUCUGGAGGuCCUGUGUUCGAUCCACAGAAUUCGCA"
    assert build_data.place(emitted) == YEAST_PHE
    assert build_data.place("g" + emitted) is None
    assert build_data.place(emitted.replace("GAAGAU", "GAAgGAU")) is None


@needs_infernal
def test_the_model_of_infernal_has_this_cloverleaf_and_emits_the_data(task: TRNA) -> None:
    assert hashlib.sha256(build_data.MODEL.read_bytes()).hexdigest() == build_data.MODEL_SHA256
    emitted = build_data.emit(build_data.MODEL, 1000)
    placed = {design for design in map(build_data.place, emitted) if design}
    kept = task.domain.text(torch.cat((task.reference(), task.training_data())))
    assert placed.intersection(kept) == placed.intersection(kept[:100]) != set()
    assert all(build_data.folds(design) == (design in kept) for design in sorted(placed)[:50])


def test_the_best_known_design_is_a_cloverleaf_as_stable_as_declared(task: TRNA) -> None:
    x = task.domain.check(task.best_design()[None])
    assert task.valid(x).all()
    assert float(task.evaluate(x)) == pytest.approx(task.best_known, abs=0.005)
    assert task.evaluate(task.training_data()[::8]).max() < task.best_known


def test_the_prior_is_as_good_as_its_card_says(task: TRNA) -> None:
    made = yaml.safe_load((FOLDER / "prior.yaml").read_text())["made"]
    prior = task.prior()
    measured = quality(task, prior.decode(prior.sample(len(task.reference()), generator(0, "quality"))))
    assert measured == pytest.approx(made["quality"], rel=0.05)
    assert min(measured["precision"], measured["recall"]) > 0.6
    assert made["data_sha256"] == hashlib.sha256(task.training_data().numpy().tobytes()).hexdigest()
    assert sum((FOLDER / file).stat().st_size for file in ("prior.safetensors", FILE)) < 4e6


@pytest.mark.xfail(reason="the card says by how much the prior falls short, and why", strict=True)
def test_four_samples_in_five_are_valid() -> None:
    quality = yaml.safe_load((FOLDER / "prior.yaml").read_text())["made"]["quality"]
    assert quality["validity"] >= 0.8 * quality["validity_of_reference"]


def test_the_consistency_model_is_that_of_the_prior(task: TRNA) -> None:
    if (FOLDER / FILE).exists():
        assert distilled_from(FOLDER / FILE) == fingerprint(task.prior())


def test_render_draws_every_base_and_pair_of_a_cloverleaf(task: TRNA) -> None:
    axes = Figure().subplots()
    task.render(task.domain.parse([YEAST_PHE])[0], axes)
    assert len(axes.texts) == 73 and len(axes.lines) == 1 + 21
    (dots,) = axes.collections
    points = np.asarray(dots.get_offsets())
    acceptor, d, anticodon, t = (
        points[bases(YEAST_PHE).index(piece)] for piece in ("GCGGAU", "AGUUGGGA", "GAAGA", "UUCGA")
    )
    assert acceptor[1] > max(d[1], t[1]) > min(d[1], t[1]) > anticodon[1] and d[0] < anticodon[0] < t[0]
    assert axes.get_aspect() == 1
    task.render(task.domain.parse(["-" * 76])[0], Figure().subplots())


def test_global_settings_of_viennarna_change_nothing(task: TRNA) -> None:
    x = torch.cat((task.reference()[:3], task.domain.sample(1, generator(0, "any"))))
    judges = (task.evaluate, task.distances, task.validate)
    before = [judge(x) for judge in judges]
    usual = {
        "temperature": 37.0,
        "dangles": 2,
        "noLP": 0,
        "noGU": 0,
        "min_loop_size": 3,
        "betaScale": 1.0,
        "salt": 1.021,
    }
    try:
        for name, value in zip(usual, (60.0, 0, 1, 1, 5, 2.0, 0.1), strict=True):
            setattr(RNA.cvar, name, value)
        RNA.params_load_DNA_Mathews2004()
        assert RNA.fold(bases(YEAST_PHE))[1] != pytest.approx(-22.4, abs=0.1)
        after = [judge(x) for judge in judges]
        assert RNA.cvar.temperature == 60 and RNA.last_parameter_file() == "DNA - Mathews 2004"
    finally:
        RNA.params_load_RNA_Turner2004()
        for name, value in usual.items():
            setattr(RNA.cvar, name, value)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
