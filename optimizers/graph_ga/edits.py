"""Children of molecules: edits of one molecular graph, and the crossover of two (Jensen, Chemical Science 10, 2019)."""

from __future__ import annotations

from random import Random

from rdkit import Chem
from rdkit.Chem import BondType, Mol, RWMol

from bbo_bench.molecules import largest_ring_of

ELEMENTS = {1: (6, 7, 8, 9, 16, 17, 35), 2: (6, 7, 8, 16), 3: (6, 7)}
"""Atomic numbers that a bond of an order can lead to."""
ORDERS = {1: BondType.SINGLE, 2: BondType.DOUBLE, 3: BondType.TRIPLE}
OF_ORDERS = (0.6, 0.35, 0.05)
LARGEST_RING = 6
"""Of a child, unless a parent has a larger one."""


def edited(parent: Mol, random: Random) -> Mol | None:
    """The molecule after one edit, or None where that is impossible."""
    work = _plain(parent)
    kind = random.choice((append, insert, delete, replace, change_order, close_ring, open_ring))
    return _molecule(work, parent) if kind(work, random) else None


def crossed(first: Mol, second: Mol, random: Random) -> Mol | None:
    """A part of one molecule bonded to a part of another, each cut at a single bond outside rings; None likewise."""
    halves = [_half(_plain(parent), random) for parent in (first, second)]
    if halves[0] is None or halves[1] is None:
        return None
    (one, end), (other, start) = halves[0], halves[1]
    joined = RWMol(Chem.CombineMols(one, other))
    joined.AddBond(end, one.GetNumAtoms() + start, BondType.SINGLE)
    return _molecule(joined, first, second)


def append(work: RWMol, random: Random) -> bool:
    """Bond a new atom to one that has hydrogens; all edits say whether they were possible."""
    order = random.choices((1, 2, 3), OF_ORDERS)[0]
    free = [atom.GetIdx() for atom in work.GetAtoms() if atom.GetTotalNumHs() >= order]
    if free:
        new = work.AddAtom(Chem.Atom(random.choice(ELEMENTS[order])))
        work.AddBond(random.choice(free), new, ORDERS[order])
    return bool(free)


def insert(work: RWMol, random: Random) -> bool:
    """Put a new atom into a bond."""
    if not work.GetNumBonds():
        return False
    bond = random.choice(list(work.GetBonds()))
    ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    new = work.AddAtom(Chem.Atom(random.choice(ELEMENTS[2])))
    work.RemoveBond(*ends)
    work.AddBond(ends[0], new, BondType.SINGLE)
    work.AddBond(new, ends[1], BondType.SINGLE)
    return True


def delete(work: RWMol, random: Random) -> bool:
    """Take an atom out; its neighbours are bonded to one of them."""
    atom = random.choice(list(work.GetAtoms()))
    neighbours = [each.GetIdx() for each in atom.GetNeighbors()]
    random.shuffle(neighbours)
    for other in neighbours[1:]:
        if work.GetBondBetweenAtoms(neighbours[0], other) is None:
            work.AddBond(neighbours[0], other, BondType.SINGLE)
    work.RemoveAtom(atom.GetIdx())
    return bool(work.GetNumAtoms())


def replace(work: RWMol, random: Random) -> bool:
    """Make an atom one of another element."""
    atom = random.choice(list(work.GetAtoms()))
    atom.SetAtomicNum(random.choice([number for number in ELEMENTS[1] if number != atom.GetAtomicNum()]))
    return True


def change_order(work: RWMol, random: Random) -> bool:
    """Make a bond one of another order."""
    if not work.GetNumBonds():
        return False
    bond = random.choice(list(work.GetBonds()))
    bond.SetBondType(random.choice([order for order in ORDERS.values() if order != bond.GetBondType()]))
    return True


def close_ring(work: RWMol, random: Random) -> bool:
    """Bond two atoms that make a ring of three to six."""
    distance = Chem.GetDistanceMatrix(work)
    pairs = [
        (i, j)
        for i in range(len(distance))
        for j in range(i)
        if 2 <= distance[i, j] < LARGEST_RING  # in bonds
    ]
    if pairs:
        work.AddBond(*random.choice(pairs), BondType.SINGLE)
    return bool(pairs)


def open_ring(work: RWMol, random: Random) -> bool:
    """Take out a bond of a ring."""
    bonds = [bond for bond in work.GetBonds() if bond.IsInRing()]
    if bonds:
        bond = random.choice(bonds)
        work.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    return bool(bonds)


def _plain(parent: Mol) -> RWMol:
    """A copy with single and double bonds in the place of aromatic ones, and hydrogens as valences demand."""
    work = RWMol(parent)
    Chem.Kekulize(work, clearAromaticFlags=True)
    for atom in work.GetAtoms():
        atom.SetNumExplicitHs(0)
        atom.SetNoImplicit(False)
    return work


def _half(work: RWMol, random: Random) -> tuple[Mol, int] | None:
    """A part of a molecule that is cut in two, and the number of the atom where it was cut."""
    bonds = [bond for bond in work.GetBonds() if not bond.IsInRing() and bond.GetBondType() == BondType.SINGLE]
    if not bonds:
        return None
    bond = random.choice(bonds)
    kept, other = random.sample((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()), 2)
    work.RemoveBond(kept, other)
    part = next(part for part in Chem.GetMolFrags(work) if kept in part)
    for atom in sorted(set(range(work.GetNumAtoms())) - set(part), reverse=True):
        work.RemoveAtom(atom)
    return work.GetMol(), sorted(part).index(kept)


def _molecule(work: RWMol, *parents: Mol) -> Mol | None:
    """The child, if there is one molecule of allowed valences, with no larger ring than is usual."""
    found = work.GetMol()
    try:
        Chem.SanitizeMol(found)
    except Chem.MolSanitizeException:
        return None
    allowed = max(LARGEST_RING, *map(largest_ring_of, parents))
    return found if len(Chem.GetMolFrags(found)) == 1 and largest_ring_of(found) <= allowed else None
