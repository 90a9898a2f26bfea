"""Gene sets: GMT files, and the mask that says which genes belong to which set."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from ..contracts.errors import UserError
from ..registry import refer

GeneSets = dict[str, list[str]]
"""Names of gene sets and their genes, both in the order of the file."""


def read_gmt(path: str | Path) -> GeneSets:
    """Read gene sets in GMT form: a line a set, tab-separated: name, description, genes.

    Line ends of Windows and old Macs, empty lines, a byte-order mark and genes listed twice in a set are tolerated.

    Raises
    ------
    UserError
        Naming the file and the line, for a line without genes, a set's name met twice, a character that cannot be
        printed, a file that is not there, not text or holds no set.
    """
    path = Path(path)
    sets: GeneSets = {}
    try:
        # Not splitlines, which would break lines at characters that a description may hold (U+2028).
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file; gene sets are read in GMT form") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file of gene sets in GMT form") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = (part.strip() for part in line.split("\t"))
        genes = list(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not name or not genes:
            raise UserError(f"{path}: line {number}: a line of a GMT file is name, description, genes, tab-separated")
        if not "".join([name, *genes]).isprintable():
            raise UserError(
                f"{path}: line {number}: a name has a character that cannot be printed; is this a GMT file?"
            )
        if name in sets:
            raise UserError(f"{path}: line {number}: the gene set {name} is there twice; rename or remove one of them")
        sets[name] = genes
    if not sets:
        raise UserError(f"{path}: no gene set in this file")
    return sets


def strip_prefix(sets: GeneSets, prefix: str) -> GeneSets:
    """The same sets with ``prefix`` taken off the front of their names.

    Raises
    ------
    UserError
        If two sets would then share a name.
    """
    stripped: GeneSets = {}
    for name, genes in sets.items():
        short = name.removeprefix(prefix) or name
        if short in stripped:
            raise UserError(f"gene set {short} is there twice without its prefix {prefix!r}; set prefix to ''")
        stripped[short] = genes
    return stripped


def join(collections: list[GeneSets], names: list[str], prefixes: list[str], where: str) -> GeneSets:
    """The sets of several collections, each without its own prefix, in order.

    Raises
    ------
    UserError
        If two sets would share a name, within a collection or between two (``names``, ``where``: for the message).
    """
    joined: GeneSets = {}
    origin: dict[str, str] = {}
    for sets, name, prefix in zip(collections, names, prefixes, strict=True):
        for short, genes in strip_prefix(sets, prefix).items():
            if short in joined:
                raise UserError(
                    f"{where}: the gene set {short} is in {origin[short]} and in {name}; "
                    f"set the prefix of one of them to '' or leave one of them out"
                )
            joined[short], origin[short] = genes, name
    return joined


def mask(sets: GeneSets, genes: Sequence[str]) -> sparse.csc_matrix:
    """Which gene belongs to which set, bool, shape (n_genes, n_sets), columns in the order of ``sets``.

    Members that are not among ``genes`` (which must be unique) are left out.
    """
    members = pd.Index(list(chain.from_iterable(sets.values())), dtype=object)
    columns = np.repeat(np.arange(len(sets)), [len(found) for found in sets.values()])
    rows = pd.Index(genes, dtype=object).get_indexer(members)
    known = rows >= 0
    entries = (np.ones(known.sum(), bool), (rows[known], columns[known]))
    return sparse.csc_matrix(entries, shape=(len(genes), len(sets)), dtype=bool)


def filter_by_size(mask: sparse.spmatrix, min_genes: int, max_genes: int | None = None) -> np.ndarray:
    """Which sets (columns of ``mask``) have between ``min_genes`` and ``max_genes`` genes, bool, shape (n_sets,)."""
    sizes = np.asarray(mask.sum(axis=0)).ravel()
    return (sizes >= min_genes) & (sizes <= (np.inf if max_genes is None else max_genes))


def draw(
    kept: np.ndarray, names: Sequence[str], n_sets: int, always: Sequence[str], seed: int, where: str
) -> np.ndarray:
    """``n_sets`` of the ``kept`` sets at random, those of ``always`` that are kept among them, bool, shape (n_sets,).

    Raises
    ------
    UserError
        If a name of ``always`` is no set's, or more of them are kept than ``n_sets``.
    """
    names = pd.Index(names)
    for name in always:
        refer(name, names, f"{where}.keep_sets")
    first = kept & names.isin(always)
    if first.sum() > n_sets:
        raise UserError(f"{where}.n_sets: {n_sets} is fewer than the {first.sum()} sets of keep_sets; raise it")
    others = np.random.default_rng(seed).permutation(np.flatnonzero(kept & ~first))
    chosen = first.copy()
    chosen[others[: n_sets - first.sum()]] = True
    return chosen


def near_matches(sets: GeneSets, genes: Sequence[str], n: int = 5, alike: bool = True) -> list[tuple[str, str]]:
    """Up to ``n`` pairs (gene of the data, gene of a set) that are not equal but may be meant to be.

    Pairs that differ in case, in a version (``ENSG00000187608.8``) or in a dot for a dash (R's way) come first; without
    any, pairs spelt ``alike``: worth a look where nothing matches, mere relatives (CAR3, HCAR3) where something does.
    """
    members = list(dict.fromkeys(chain.from_iterable(sets.values())))
    plain = pd.Series(members, index=[_plain(member) for member in members], dtype=object)
    plain = plain[~plain.index.duplicated()]
    found = pd.Index([_plain(gene) for gene in genes])
    pairs = [
        (gene, plain[key])
        for gene, key, known in zip(genes, found, found.isin(plain.index), strict=True)
        if known and gene != plain[key]
    ]
    if alike and not pairs:  # comparing letter by letter is slow: a handful will do
        few = list(genes)[:: max(1, len(genes) // 20)]
        close = ((gene, difflib.get_close_matches(gene, members[:5000], n=1, cutoff=0.75)) for gene in few)
        pairs = [(gene, match[0]) for gene, match in close if match and match[0] != gene]
    return pairs[:n]


def _plain(gene: str) -> str:
    """A gene's name in capitals and with dashes for dots, an Ensembl identifier without its version."""
    gene = gene.strip().upper()
    return gene.split(".")[0] if gene.startswith("ENS") else gene.replace(".", "-")


def no_match(sets: GeneSets, genes: Sequence[str], where: str) -> UserError:
    """The error for gene sets that share no gene with the data: what nearly matched, and what to do."""
    pairs = near_matches(sets, genes)
    if pairs:
        what = f"nearly matched: {', '.join(f'{gene} (data) ~ {member} (sets)' for gene, member in pairs)}"
    else:
        members = list(dict.fromkeys(chain.from_iterable(sets.values())))
        what = f"the data have {', '.join(list(genes)[:3])}, the sets {', '.join(members[:3])}"
    return UserError(
        f"{where}: no gene of the data is in any gene set; {what}; "
        f"choose gene sets of the same organism and kind of gene names, or another way to match them (symbols)"
    )
