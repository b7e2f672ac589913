"""Edits of molecular graphs, and evolution by them."""

from collections import Counter
from random import Random

import pytest
import torch

from bbo_bench.core import UnsuitableError
from bbo_bench.library import load_task
from bbo_bench.seeding import generator
from bbo_bench.testing import SequenceProbe
from bbo_bench.testing.probe import problem_of

Chem = pytest.importorskip("rdkit.Chem")
largest_ring_of = pytest.importorskip("bbo_bench.molecules").largest_ring_of
edits = pytest.importorskip("bbo_bench.optimizers.graph_ga.edits")

TOLUENE = "Cc1ccccc1"


def children(edit, smiles, n=200):
    """Canonical SMILES of what an edit makes of a molecule, counted; not of what is no molecule."""
    random, made = Random(0), Counter()
    for _ in range(n):
        work = edits._plain(Chem.MolFromSmiles(smiles))
        if edit(work, random) and (found := edits._molecule(work, Chem.MolFromSmiles(smiles))) is not None:
            made[Chem.MolToSmiles(found)] += 1
    return made


@pytest.mark.parametrize(
    ("edit", "parent", "expected"),
    [
        (edits.append, "CF", {"NCF", "OCF", "CCF", "FCF", "FCS", "FCCl", "FCBr", "O=CF", "N=CF", "C=CF", "FC=S"}),
        (edits.insert, "CC", {"CCC", "CNC", "COC", "CSC"}),
        (edits.delete, "CCO", {"CC", "CO"}),
        (edits.delete, "CC(F)Cl", {"CCF", "CCCl", "FCCl", "CFCl"}),
        (edits.replace, "CC", {"CN", "CO", "CF", "CS", "CCl", "CBr"}),
        (edits.change_order, "CC", {"C=C", "C#C"}),
        (edits.close_ring, "CCCC", {"C1CCC1", "CC1CC1"}),
        (edits.open_ring, "C1CCC1", {"CCCC"}),
    ],
)
def test_an_edit_makes_all_that_it_can_and_no_more(edit, parent, expected):
    made = children(edit, parent, 600)
    expected = {Chem.MolToSmiles(mol) for each in expected if (mol := Chem.MolFromSmiles(each)) is not None}
    assert set(made) - {"C#CF", "N#CF"} <= expected and len(made) >= len(expected) - 1


def test_edits_of_aromatic_rings_are_molecules():
    for edit in (edits.append, edits.insert, edits.delete, edits.replace, edits.open_ring):
        made = children(edit, "Cc1c[nH]c2ccccc12")
        assert len(made) > 3, edit.__name__
        assert all(Chem.MolFromSmiles(name) is not None for name in made)


def test_rings_grow_no_larger_than_usual():
    for name in children(edits.insert, TOLUENE, 300):
        assert largest_ring_of(Chem.MolFromSmiles(name)) <= edits.LARGEST_RING
    large = children(edits.append, "C1CCCCCCC1")
    assert large, "a parent's own ring is no reason to refuse its children"


def test_a_crossover_is_a_part_of_each_parent():
    first, second = Chem.MolFromSmiles("CCCl"), Chem.MolFromSmiles("NNBr")
    random = Random(0)
    made = {Chem.MolToSmiles(edits.crossed(first, second, random)) for _ in range(200)}
    left, right = ("C", "CC", "CCl", "Cl"), ("N", "NN", "NBr", "Br")
    ends = {"C": "C", "CC": "CC", "CCl": "C(Cl)", "Cl": "Cl"}
    joined = {Chem.CanonSmiles(ends[a] + b) for a in left for b in right}
    assert made == joined


def test_what_cannot_be_cut_has_no_children():
    assert edits.crossed(Chem.MolFromSmiles("C1CC1"), Chem.MolFromSmiles("CC"), Random(0)) is None


@pytest.fixture(scope="module")
def told():
    from bbo_bench.testing.probe import made

    task = load_task("molecule_qed")
    optimizer = made("optimizer", "graph_ga")(problem_of(task, (40, 60)), generator(0))
    x = task.reference()[:40]
    optimizer.tell(x, task.evaluate(x))
    return task, optimizer


def test_children_are_new_molecules_of_the_domain(told):
    task, optimizer = told
    x = task.domain.check(optimizer.ask(60))
    names = [tuple(row) for row in task.canonical(torch.cat([optimizer.x, x])).tolist()]
    assert len(set(names[40:])) == 60 and not set(names[40:]) & set(names[:40])
    assert task.valid(x).double().mean() > 0.5, "edits of graphs are mostly what chemists would keep"


def test_children_resemble_the_best(told):
    task, optimizer = told
    bits = task.fingerprints(torch.cat([optimizer.recommend(8), task.reference()[40:80], optimizer.ask(60)]))
    common = bits[-60:] @ bits[:-60].T
    likeness = common / (bits[-60:].sum(1, keepdim=True) + bits[:-60].sum(1) - common)
    assert likeness[:, :8].amax(1).mean() > likeness[:, 8:].amax(1).mean() + 0.1


def test_one_seed_one_generation(told):
    _, optimizer = told
    asked = []
    for seed in (0, 0, 1):
        optimizer.rng.manual_seed(seed)
        asked.append(optimizer.ask(10))
    assert torch.equal(asked[0], asked[1]) and not torch.equal(asked[0], asked[2])


def test_without_a_molecule_it_asks_the_prior(told):
    task, _ = told
    from bbo_bench.testing.probe import made

    optimizer = made("optimizer", "graph_ga")(problem_of(task, (4, 4)), generator(0))
    none = torch.full((4, 48), task.domain.alphabet.index("[nop]"))
    optimizer.tell(none, torch.zeros(4).double())
    assert len(task.domain.check(optimizer.ask(4))) == 4


def test_other_sequences_are_refused():
    from bbo_bench.testing.probe import made

    with pytest.raises(UnsuitableError, match="breeds molecules in SELFIES"):
        made("optimizer", "graph_ga")(problem_of(SequenceProbe(), (8, 8)), generator(0))
