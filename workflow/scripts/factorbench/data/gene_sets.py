"""Gene sets: read GMT files, join collections, and build the mask of genes x sets."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from ..contracts.errors import UserError
from ..registry import refer
from .archives import GIB, SIZE_LIMIT, Content

GeneSets = dict[str, list[str]]
"""Names of gene sets and their genes, both in the order of the file."""

N_NEAR = 5
"""Pairs of nearly equal names that are shown."""


def read_gmt(path: str | Path, descriptions: bool = True) -> GeneSets:
    """Read gene sets in GMT format: one set per line, tab-separated: name, description, genes.

    The file is plain or gzip. Line ends of Windows and old Macs, empty lines, a byte-order mark, quotes around names,
    weights after genes (``ISG15,1.0``) and repeated genes in a set are accepted. Without ``descriptions`` the second
    column has genes too (`has_descriptions`).

    Raises
    ------
    UserError
        If the file cannot be read or holds no set; with the number of the line, if the line has no genes, repeats the
        name of a set or has a character that cannot be printed.
    """
    sets: GeneSets = {}
    for number, (name, *fields) in _read_lines(path):
        at = f"{path}: line {number}"
        genes = list(dict.fromkeys(gene for gene in map(_without_weight, fields[descriptions:]) if gene))
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
    second = [fields[1] for fields in lines if len(fields) > 1 and fields[1] != fields[0]]
    return sum(field in known for field in second) <= len(lines) / 2


def _without_weight(gene: str) -> str:
    return re.sub(r",-?[0-9.]+(e-?[0-9]+)?$", "", gene) if "," in gene else gene


def _read_lines(path: str | Path) -> list[tuple[int, list[str]]]:
    """Return the number and the fields of each line that is not empty."""
    try:
        with Content(Path(path), SIZE_LIMIT / GIB) as file:
            text = file.readall().decode("utf-8-sig")
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error):
        raise UserError(f"{path}: is not a text file; give gene sets in GMT format") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file of gene sets in GMT format") from None
    # splitlines() would also break lines at characters that a description may hold (U+2028).
    lines = enumerate(re.split("\r\n|\r|\n", text), start=1)
    fields = [(number, [_unquoted(field.strip()) for field in line.split("\t")]) for number, line in lines]
    fields = [(number, line) for number, line in fields if any(line)]
    if not fields:
        raise UserError(f"{path}: has no gene set; give a file in GMT format")
    first, second = (line for _, line in [*fields[:2], fields[0]][:2])
    if ".gmx" in Path(path).suffixes or (len(first) == len(second) > 2 and all(map(_says_nothing, second))):
        raise UserError(f"{path}: is in GMX format, with a gene set in each column; exchange its rows and columns")
    return fields


def _unquoted(field: str) -> str:
    return field[1:-1].strip() if len(field) > 2 and field[0] == field[-1] == '"' else field


def _says_nothing(description: str) -> bool:
    """Return whether a field is a description that the second line of a GMX file has, and no gene set is called so."""
    return description.lower() in ("", "na") or description.startswith("http")


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


def merge(names: np.ndarray, member: sparse.csc_matrix, above: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Make one set of sets with nearly the same genes; return names, shape (n_sets,), and a mask (n_genes, n_sets).

    Two sets are merged if the Jaccard index of their genes is at least ``above`` (``None``: none are), and so are the
    sets that are merged with either of them. A merged set has the genes of all; it stands where the first one stood.
    """
    from scipy.sparse.csgraph import connected_components

    mask = member.toarray()
    if above is None:
        return names, mask
    counts = mask.astype(np.float32)
    shared, sizes = counts.T @ counts, counts.sum(axis=0)
    near = shared >= above * (sizes[:, None] + sizes - shared)
    _, groups = connected_components(sparse.csr_matrix(near), directed=False)
    order = list(dict.fromkeys(groups))
    merged = np.stack([mask[:, groups == group].any(axis=1) for group in order], axis=1)
    return np.array(["+".join(names[groups == group]) for group in order], object), merged


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


def near_matches(sets: GeneSets, genes: Sequence[str], n: int = N_NEAR) -> list[tuple[str, str]]:
    """Return up to ``n`` pairs (gene of the data, gene of a set) that differ only in how they are written.

    That is in upper and lower case, in the version of an Ensembl identifier (``ENSG00000187608.8``), or in a dot for a
    dash (R replaces dashes). A gene of a set that is in the data in its own form too is not in a pair.
    """
    members: dict[str, str] = {}
    for member in set().union(*sets.values()).difference(genes):
        members.setdefault(_plain(member), member)
    return [(gene, members[_plain(gene)]) for gene in genes if _plain(gene) in members][:n]


def _plain(gene: str) -> str:
    gene = gene.strip().upper()
    return gene.split(".")[0] if gene.startswith("ENS") else gene.replace(".", "-")


def no_match(sets: GeneSets, genes: Sequence[str], advice: Iterable[str], where: str) -> UserError:
    """Return the error for gene sets that share no gene with the data; ``advice`` is that of `symbols.advice`."""
    members = list(dict.fromkeys(chain.from_iterable(sets.values())))
    help_ = [f"the data have {', '.join(list(genes)[:3])}, the sets {', '.join(members[:3])}", *advice]
    return UserError(
        f"{where}: no gene of the data is in any gene set; {'; '.join(help_)}; "
        f"choose gene sets of the same organism and kind of gene names, or another value of symbols"
    )
