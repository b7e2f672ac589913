"""Molecules as chemists write them, SMILES, SELFIES and SDF, to and from the tokens of a design.

Source: Krenn et al., "Self-referencing embedded strings (SELFIES)", 2020.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations, pairwise
from threading import RLock

import selfies
from rdkit import Chem, rdBase
from torch import Tensor

from bbo_bench.domains import Sequences
from bbo_bench.io import Entry, Format, Notation, entry

PADDING = "[nop]"
BONDS = selfies.get_preset_constraints("default")
"""How many bonds an atom can have, to SELFIES 2.1.1."""
SYMBOLS = {Chem.BondType.SINGLE: "", Chem.BondType.DOUBLE: "=", Chem.BondType.TRIPLE: "#"}
ORGANIC = ("B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I")
"""What SMILES writes without brackets."""
OTHERS = re.compile(r"\[[=#/\\-]*(Branch|Ring)")
"""Tokens of SELFIES that are no atoms."""
_BONDING = RLock()


@contextmanager
def usual_bonds() -> Iterator[None]:
    """SELFIES with its own constraints in the meantime; it holds them in a global variable, which others may set."""
    with _BONDING:
        before = selfies.get_semantic_constraints()
        if before == BONDS:
            yield
            return
        selfies.set_semantic_constraints(BONDS)
        try:
            yield
        finally:
            selfies.set_semantic_constraints(before)


def molecule(text: str) -> Chem.Mol | None:
    """The molecule of a string of SELFIES tokens; None where RDKit cannot make it, or it has no atom.

    Padding is skipped wherever it stands, and what SELFIES cannot bond is left out, so that nearly all strings are
    molecules.
    """
    with rdBase.BlockLogs(), usual_bonds():
        found = Chem.MolFromSmiles(selfies.decoder(text))
    return found if found is not None and found.GetNumAtoms() else None


def smiles(text: str) -> str:
    """Canonical SMILES of a string of SELFIES tokens; empty where it is no molecule."""
    found = molecule(text)
    return Chem.MolToSmiles(found) if found is not None else ""


def smiles_notation(domain: Sequences) -> Notation:
    """SMILES, or SELFIES where a text begins with a bracket that SMILES would not have there."""

    def parse(text: str) -> Tensor:
        return design(domain, from_selfies(text) if is_selfies(text) else from_smiles(text))

    return Notation("smiles", parse, lambda x: [smiles(each) for each in domain.text(x)])


def selfies_notation(domain: Sequences) -> Notation:
    """SELFIES, without padding; the tokens of a design are kept as they are where they are a design's already."""

    def parse(text: str) -> Tensor:
        try:
            return padded(domain, list(selfies.split_selfies(text)))
        except ValueError:
            return design(domain, from_selfies(text))

    return Notation("selfies", parse, lambda x: [each.replace(PADDING, "") for each in domain.text(x)])


def sdf_format(domain: Sequences) -> Format:
    """Structure-data files; what is written has the coordinates of a drawing."""

    def read(content: bytes, column: str | None) -> list[Entry]:
        with rdBase.BlockLogs():
            found = list(Chem.ForwardSDMolSupplier(io.BytesIO(content), sanitize=True))
        return [entry(_title(each), _maker(domain, each)) for each in found]

    def write(x: Tensor, names: Sequence[str]) -> bytes:
        from rdkit.Chem.rdDepictor import Compute2DCoords

        file = io.StringIO()
        with Chem.SDWriter(file) as writer:
            for text, name in zip(domain.text(x), names, strict=True):
                found = molecule(text) or Chem.Mol()
                Compute2DCoords(found)
                found.SetProp("_Name", name)
                writer.write(found)
        return file.getvalue().encode()

    return Format(read, write)


def design(domain: Sequences, found: Chem.Mol) -> Tensor:
    """The design that is a molecule.

    Raises:
        ValueError: If there is none: it says what the designs have no token for.
    """
    if "." in Chem.MolToSmiles(found):
        raise ValueError("it is more than one molecule, a salt or a mixture: give the one that counts")
    try:
        writings = writings_of(found)
    except ValueError as error:
        raise ValueError(_why_none(domain, found) or str(error)) from error
    unknown = [sorted(set(each) - set(domain.alphabet)) for each in writings]
    fitting = [each for each, missing in zip(writings, unknown, strict=True) if not missing]
    if not fitting:
        raise ValueError(_why_none(domain, found) or f"designs have no token {', '.join(sorted(unknown, key=len)[0])}")
    shortest = min(fitting, key=len)
    return padded(domain, fitting[0] if len(fitting[0]) <= domain.length else shortest)


def tokens(text: str) -> tuple[str, list[str]]:
    """Canonical SMILES of a molecule, and the tokens of SELFIES that write it.

    Raises:
        ValueError: If it is none, or several.
    """
    found = from_smiles(text)
    name = Chem.MolToSmiles(found)
    if "." in name:
        raise ValueError("it is more than one molecule, a salt or a mixture")
    return name, writings_of(found)[0]


def padded(domain: Sequences, tokens: Sequence[str]) -> Tensor:
    """A design of some tokens.

    Raises:
        ValueError: If they are too many, or one is unknown.
    """
    if len(tokens) > domain.length:
        raise ValueError(f"it takes {len(tokens)} tokens of SELFIES, where designs have {domain.length}")
    return domain.parse(["".join(tokens) + PADDING * (domain.length - len(tokens))])[0]


def from_smiles(text: str) -> Chem.Mol:
    """The molecule of a SMILES string.

    Raises:
        ValueError: If it is none.
    """
    with rdBase.BlockLogs():
        found = Chem.MolFromSmiles(text)
    if found is None or not found.GetNumAtoms():
        raise ValueError(f"RDKit reads no molecule from {text!r}")
    return found


def from_selfies(text: str) -> Chem.Mol:
    """The molecule of a SELFIES string.

    Raises:
        ValueError: If it is none.
    """
    try:
        found = molecule(text)
    except selfies.DecoderError as error:
        raise ValueError(f"no SELFIES: {text!r}") from error
    if found is None:
        raise ValueError(f"no molecule: {text!r}")
    return found


def is_selfies(text: str) -> bool:
    """Whether a text is of tokens in brackets alone, and no SMILES."""
    if not re.fullmatch(r"(\[[^\[\]]+\])+", text):
        return False
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(text) is None or "[C]" in text


def along_the_longest_path(smiles: str) -> str:
    """SMILES of the same molecule, without aromatic bonds, from end to end of its longest path.

    What hangs on the path is a branch, the other half of a ring too. So branches are short, and a ring stands in one
    piece: written as RDKit would, its parts lie apart, and generated rings do not close where they should.
    """
    molecule = Chem.MolFromSmiles(smiles)
    rank = list(Chem.CanonicalRankAtoms(molecule))
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    atoms = sorted(range(molecule.GetNumAtoms()), key=rank.__getitem__)
    distance = Chem.GetDistanceMatrix(molecule)
    ends = max(combinations(atoms, 2), key=lambda pair: distance[pair])
    path = Chem.GetShortestPath(molecule, *ends)
    follower = dict(pairwise(path))
    bonds = {
        frozenset((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())): SYMBOLS[bond.GetBondType()]
        for bond in molecule.GetBonds()
    }
    done: set[frozenset[int]] = set()
    closures: dict[int, list[tuple[int, str]]] = {atom: [] for atom in atoms}
    children: dict[int, list[int]] = {atom: [] for atom in atoms}
    seen: set[int] = set()

    def visit(atom: int) -> None:
        seen.add(atom)
        after = follower.get(atom)
        neighbours = [each.GetIdx() for each in molecule.GetAtomWithIdx(atom).GetNeighbors()]
        for other in sorted(neighbours, key=rank.__getitem__):
            bond = frozenset((atom, other))
            if other == after or bond in done:
                continue
            done.add(bond)
            if other in seen or other in path:
                number = 1 + sum(map(len, closures.values())) // 2
                closures[atom].append((number, bonds[bond]))
                closures[other].append((number, ""))
            else:
                children[atom].append(other)
                visit(other)
        if after is not None:
            done.add(frozenset((atom, after)))
            children[atom].append(after)
            visit(after)

    def text(atom: int) -> str:
        rings = "".join(f"{bond}%{number:02}" for number, bond in sorted(closures[atom]))
        tails = [bonds[frozenset((atom, child))] + text(child) for child in children[atom]]
        branches = "".join(f"({tail})" for tail in tails[:-1])
        return str(molecule.GetAtomWithIdx(atom).GetSymbol()) + rings + branches + "".join(tails[-1:])

    visit(path[0])
    return text(path[0])


def writings_of(found: Chem.Mol) -> list[list[str]]:
    """Tokens of SELFIES that write a molecule: along its longest path, and as RDKit would; never another molecule.

    Raises:
        ValueError: If there are none.
    """
    texts = [along_the_longest_path(Chem.MolToSmiles(found))] if _plain(found) else []
    plain = Chem.Mol(found)
    Chem.Kekulize(plain, clearAromaticFlags=True)
    texts.append(Chem.MolToSmiles(plain, kekuleSmiles=True))
    name, kept, why = Chem.MolToSmiles(found), [], ""
    for text in texts:
        try:
            with usual_bonds():
                encoded = selfies.encoder(text)
        except selfies.EncoderError as error:
            why = str(error).strip().splitlines()[-1].strip()
            continue
        if smiles(encoded) == name:
            kept.append(list(selfies.split_selfies(encoded)))
    if not kept:
        raise ValueError(f"SELFIES cannot write it{f': {why}' if why else ''}")
    return kept


def _plain(found: Chem.Mol) -> bool:
    """Whether a molecule is no more than atoms that SMILES writes without brackets, and their bonds."""
    return (
        found.GetNumAtoms() > 1
        and not _stereo(found)
        and all(bond.GetBondType() in (*SYMBOLS, Chem.BondType.AROMATIC) for bond in found.GetBonds())
        and all(
            atom.GetSymbol() in ORGANIC
            and not (atom.GetFormalCharge() or atom.GetNumRadicalElectrons() or atom.GetIsotope())
            for atom in found.GetAtoms()
        )
    )


def _why_none(domain: Sequences, found: Chem.Mol) -> str:
    """What a molecule has that the tokens of designs cannot say, in words; empty where that is not known."""
    known = _elements(domain)
    for atom in found.GetAtoms():
        if atom.GetFormalCharge():
            return f"it has a charge, at {atom.GetSymbol()}; designs have no token for it{_nitro(found)}"
        if atom.GetNumRadicalElectrons():
            return f"it has an unpaired electron, at {atom.GetSymbol()}"
        if atom.GetIsotope():
            return f"it has an isotope, {atom.GetIsotope()}{atom.GetSymbol()}"
        if atom.GetSymbol() not in known:
            return f"it has {atom.GetSymbol()}; designs are made of {', '.join(sorted(known))}"
    if _stereo(found):
        return "it says which stereoisomer it is, which designs do not; leave @, / and \\ away to take any"
    return ""


def _elements(domain: Sequences) -> set[str]:
    """Of which there are tokens, such as `[C]`, `[=N]` or `[O-1]`."""
    atoms = (re.match(r"\[[=#/\\]?\d*([A-Z][a-z]?)", token) for token in domain.alphabet if not OTHERS.match(token))
    return {match[1] for match in atoms if match}


def _stereo(found: Chem.Mol) -> bool:
    return any(symbol in Chem.MolToSmiles(found) for symbol in "@/\\")


def _nitro(found: Chem.Mol) -> str:
    return ", as nitro groups have" if found.HasSubstructMatch(Chem.MolFromSmarts("[N+](=O)[O-]")) else ""


def _title(found: Chem.Mol | None) -> str:
    return found.GetProp("_Name") if found is not None and found.HasProp("_Name") else ""


def _maker(domain: Sequences, found: Chem.Mol | None) -> Callable[[], Tensor]:
    def make() -> Tensor:
        if found is None:
            raise ValueError("RDKit reads no molecule from it")
        return design(domain, Chem.RemoveHs(found))

    return make
