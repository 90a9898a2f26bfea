"""Names of the data's genes in the words of the gene sets: as they are, in capitals, or by one-to-one orthologs."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pandas as pd

from ..contracts.errors import UserError
from ..registry import nearest
from .archives import GIB, SIZE_LIMIT, text
from .gene_sets import GeneSets, near_matches

NO_SYMBOL = " (no symbol)"
"""Marks a gene that must not be in any gene set: a member of a set bears no such name."""

ONE_TO_ONE = "ortholog_one2one"
"""What Ensembl calls two genes of which each is the only ortholog of the other."""


def read_orthologs(
    path: str | Path, columns: dict[str, str], where: str, unpacked: float = SIZE_LIMIT / GIB
) -> pd.DataFrame:
    """Read pairs of one-to-one orthologs from a csv.

    Parameters
    ----------
    path
        A row a pair of genes.
    columns
        ``from`` and ``to``: the columns with the names of the data's genes and of the gene sets' genes. ``kind``: the
        column that says `ONE_TO_ONE`; empty: all rows are looked at.
    where
        The table's entry in the config, for messages.
    unpacked
        GiB that the file may unpack to.

    Returns
    -------
    DataFrame
        ``from`` and ``to``, each name once (see `one_to_one`).

    Raises
    ------
    UserError
        If the file cannot be read or lacks a column, or no pair is one to one.
    """
    named = {key: column for key, column in columns.items() if column}
    try:
        with text(Path(path), unpacked) as file:
            table = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])
    # pandas' own errors and UnicodeDecodeError are ValueErrors
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not a csv of orthologs ({reason}); delete it to have it fetched again") from None
    for key, column in named.items():
        if column not in table:
            raise UserError(f"{where}.{key}: {path} has no column {column!r}{nearest(column, list(table))}")
    if "kind" in named:
        table = table[table[named["kind"]] == ONE_TO_ONE]
    pairs = one_to_one(table[[named["from"], named["to"]]].set_axis(["from", "to"], axis=1))
    if pairs.empty:
        raise UserError(f"{where}: no pair in {path} is one to one; check from, to and kind")
    return pairs


def one_to_one(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs of which either name is in no other pair; ``from`` in capitals, since data are written in any case."""
    pairs = pairs.dropna().assign(**{"from": lambda table: table["from"].str.upper()}).drop_duplicates()
    ambiguous = pairs["from"].duplicated(keep=False) | pairs["to"].duplicated(keep=False)
    return pairs[~ambiguous].reset_index(drop=True)


def translate(genes: pd.Index, how: str, orthologs: pd.DataFrame | None = None) -> tuple[pd.Index, dict[str, int]]:
    """Names of the data's genes in the words of the gene sets.

    A gene that has no name there, or would share it with another gene of the data, keeps its own, marked by
    `NO_SYMBOL`: it counts in normalisation and selection, and is in no gene set.

    Parameters
    ----------
    genes
        Names of the data's genes, unique, shape (n_genes,).
    how
        ``as_is``, ``upper`` or ``orthologs``.
    orthologs
        ``from`` and ``to`` of `one_to_one`, for ``orthologs``.

    Returns
    -------
    names
        Unique, shape (n_genes,).
    counts
        How many genes are ``mapped``, ``unmapped``, ``ambiguous`` (would share a name).
    """
    own = pd.Series(genes, index=genes, dtype=object)
    symbol = own if how == "as_is" else own.str.upper()
    if how == "orthologs":
        symbol = symbol.map(orthologs.set_index("from")["to"])
    unmapped = symbol.isna()
    ambiguous = ~unmapped & symbol.duplicated(keep=False)
    names = symbol.mask(unmapped | ambiguous, own + NO_SYMBOL)
    counts = {
        "mapped": int((~unmapped & ~ambiguous).sum()),
        "unmapped": int(unmapped.sum()),
        "ambiguous": int(ambiguous.sum()),
    }
    return pd.Index(names.to_numpy(), dtype=object), counts


def found_by(genes: pd.Index, members: set[str], orthologs: pd.DataFrame | None = None) -> dict[str, int]:
    """How many ``members`` of gene sets are genes of the data by each way there is to translate their names."""
    ways = ("as_is", "upper", *(() if orthologs is None else ("orthologs",)))
    return {how: len(members.intersection(translate(genes, how, orthologs)[0])) for how in ways}


def describe_match(
    genes: pd.Index, names: pd.Index, sets: GeneSets, how: str, orthologs: pd.DataFrame | None = None
) -> dict[str, Any]:
    """What a dataset's record says of the symbols of its gene sets.

    ``how``; distinct symbols ``in the sets``, and those ``found`` among the ``names`` (`translate` of ``genes`` by
    ``how``); ``found by`` each way there is; ``near misses`` (`genesets.near_matches`) if fewer than half are found.
    """
    members = set().union(*sets.values())
    found = members.intersection(names)
    misses = near_matches(sets, names, alike=False) if len(found) < len(members) / 2 else []
    return {
        "how": how,
        "in the sets": len(members),
        "found": len(found),
        "found by": found_by(genes, members, orthologs),
        "near misses": misses,
    }
