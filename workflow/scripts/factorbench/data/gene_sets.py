"""Gene sets: read GMT files, join collections, and build the mask of genes x sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from ..contracts.errors import UserError
from ..registry import refer

GeneSets = dict[str, list[str]]
"""Names of gene sets and their genes, both in the order of the file."""


def read_gmt(path: str | Path, descriptions: bool = True) -> GeneSets:
    """Read gene sets in GMT format: one set per line, tab-separated: name, description, genes.

    Line ends of Windows and old Macs, empty lines, a byte-order mark and repeated genes in a set are accepted. Without
    ``descriptions`` the second column has genes too (`has_descriptions`).

    Raises
    ------
    UserError
        If the file cannot be read or holds no set; with the number of the line, if the line has no genes, repeats the
        name of a set or has a character that cannot be printed.
    """
    sets: GeneSets = {}
    for number, (name, *fields) in _read_lines(path):
        at = f"{path}: line {number}"
        genes = list(dict.fromkeys(gene for gene in fields[descriptions:] if gene))
        if not name or not genes:
            raise UserError(f"{at}: should be name, description and genes, tab-separated (GMT format)")
        if not "".join([name, *genes]).isprintable():
            raise UserError(f"{at}: a name has a character that cannot be printed; is this a GMT file?")
        if name in sets:
            raise UserError(f"{at}: the gene set {name} occurs twice; rename or remove one of them")
        sets[name] = genes
    return sets


def has_descriptions(path: str | Path, genes: Iterable[str] = ()) -> bool:
    """Return whether the second column of a GMT file describes the sets. Some programs write files without it.

    It does unless more than half of its fields are ``genes`` of the data or genes of a set. The name of a set, repeated
    as its description, is no gene. Raise a `UserError` if the file cannot be read or holds no set.
    """
    lines = [fields for _, fields in _read_lines(path)]
    known = set(genes).union(*(fields[2:] for fields in lines))
    n_genes = sum(
        second in known and second != name for name, second, *_ in (fields for fields in lines if len(fields) > 1)
    )
    return n_genes <= len(lines) / 2


def _read_lines(path: str | Path) -> list[tuple[int, list[str]]]:
    """Return the number and the fields of each line that is not empty."""
    try:
        # splitlines() would also break lines at characters that a description may hold (U+2028).
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text file; give gene sets in GMT format") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file of gene sets in GMT format") from None
    fields = [(number, [field.strip() for field in line.split("\t")]) for number, line in enumerate(lines, 1)]
    fields = [(number, line) for number, line in fields if any(line)]
    if not fields:
        raise UserError(f"{path}: has no gene set; give a file in GMT format")
    return fields


def join(collections: list[GeneSets], names: list[str], prefixes: list[str], where: str) -> GeneSets:
    """Return the sets of several collections as one, in order; each collection's prefix is removed from its names.

    Raise a `UserError` if two sets would have the same name. ``names`` are those of the collections.
    """
    joined: GeneSets = {}
    origin: dict[str, str] = {}
    for sets, collection, prefix in zip(collections, names, prefixes, strict=True):
        for full, genes in sets.items():
            name = full.removeprefix(prefix) or full
            if name in joined:
                raise UserError(
                    f"{where}: without prefixes, the gene set {name} is in {origin[name]} and in {collection}; "
                    f"set the prefix of one of them to '' or leave one of them out"
                )
            joined[name], origin[name] = genes, collection
    return joined


def mask(sets: GeneSets, genes: Sequence[str]) -> sparse.csc_matrix:
    """Return whether each gene belongs to each set, bool, shape (n_genes, n_sets), columns in the order of ``sets``.

    ``genes`` must be unique. Members of sets that are not among them are left out.
    """
    members = pd.Series(list(sets.values()), dtype=object).explode()  # by the number of the set
    rows = pd.Index(genes, dtype=object).get_indexer(members)
    known = rows >= 0
    entries = (np.ones(known.sum(), bool), (rows[known], members.index[known]))
    return sparse.csc_matrix(entries, shape=(len(genes), len(sets)), dtype=bool)


def draw(
    kept: np.ndarray, names: Sequence[str], n_sets: int, always: Sequence[str], seed: int, where: str
) -> np.ndarray:
    """Draw ``n_sets`` of the ``kept`` sets at random, including all kept sets that are named in ``always``.

    Return whether each set is drawn, bool, shape (len(names),): all kept ones if they are not more than ``n_sets``.
    Raise a `UserError` if ``always`` names an unknown set, or more than ``n_sets`` kept sets.
    """
    names = pd.Index(names)
    for name in always:
        refer(name, names, f"{where}.keep_sets")
    chosen = kept & names.isin(always)
    n_others = n_sets - chosen.sum()
    if n_others < 0:
        raise UserError(f"{where}.n_sets: {n_sets} is fewer than the {chosen.sum()} sets of keep_sets; raise it")
    others = np.random.default_rng(seed).permutation(np.flatnonzero(kept & ~chosen))
    chosen[others[:n_others]] = True
    return chosen


def near_matches(sets: GeneSets, genes: Sequence[str], n: int = 5) -> list[tuple[str, str]]:
    """Return up to ``n`` pairs (gene of the data, gene of a set) that differ only in how they are written.

    That is in upper and lower case, in the version of an Ensembl identifier (``ENSG00000187608.8``), or in a dot for a
    dash (R replaces dashes).
    """
    members: dict[str, str] = {}
    for member in chain.from_iterable(sets.values()):
        members.setdefault(_plain(member), member)
    pairs = ((gene, members.get(_plain(gene), gene)) for gene in genes)
    return [(gene, member) for gene, member in pairs if gene != member][:n]


def _plain(gene: str) -> str:
    gene = gene.strip().upper()
    return gene.split(".")[0] if gene.startswith("ENS") else gene.replace(".", "-")


def no_match(sets: GeneSets, genes: Sequence[str], where: str) -> UserError:
    """Return the error for gene sets that share no gene with the data."""
    pairs = ", ".join(f"{gene} (data) ~ {member} (sets)" for gene, member in near_matches(sets, genes))
    members = list(dict.fromkeys(chain.from_iterable(sets.values())))
    names = f"the data have {', '.join(list(genes)[:3])}, the sets {', '.join(members[:3])}"
    return UserError(
        f"{where}: no gene of the data is in any gene set; {f'nearly matched: {pairs}' if pairs else names}; "
        f"choose gene sets of the same organism and kind of gene names, or another value of symbols"
    )
