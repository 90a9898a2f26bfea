"""Map the names of the data's genes to the symbols that the gene sets use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..contracts.errors import UserError
from ..registry import refer
from .archives import GIB, SIZE_LIMIT
from .gene_sets import N_NEAR, GeneSets, near_matches
from .readers._files import read_table

NO_SYMBOL = " (no symbol)"
"""End of the name of a gene without a symbol. No member of a gene set has such a name."""

MANY_MORE = 1.5
"""How many times more symbols another way must find to be named."""

DATE = r"[0-9]{1,2}-(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(-[0-9]+)?"
"""The names of genes after Excel has changed them."""

ONE_TO_ONE = "ortholog_one2one"
"""Ensembl's term for two genes that are each the only ortholog of the other."""


def read_orthologs(
    path: str | Path, columns: dict[str, str], where: str, unpacked: float = SIZE_LIMIT / GIB
) -> pd.DataFrame:
    """Read pairs of one-to-one orthologs from a table (`read_table`) with one pair of genes per row.

    Parameters
    ----------
    path
        The file, plain or gzip. It may unpack to ``unpacked`` GiB.
    columns
        ``from`` and ``to``: the columns with the names of the data's genes and of the gene sets' genes. ``kind``: the
        column that must say `ONE_TO_ONE`; empty: all rows are used.
    where
        The table's entry in the config, for messages.

    Returns
    -------
    DataFrame
        ``from`` and ``to``, each name once (`one_to_one`).

    Raises
    ------
    UserError
        If the file cannot be read, a column is missing, or no pair is one to one.
    """
    table = read_table(Path(path), unpacked)
    for key, column in columns.items():
        if column:
            refer(column, table, f"{path}: {where}.{key}")
    if columns["kind"]:
        table = table[table[columns["kind"]] == ONE_TO_ONE]
    pairs = one_to_one(table[[columns["from"], columns["to"]]].set_axis(["from", "to"], axis=1))
    if pairs.empty:
        raise UserError(f"{where}: no pair in {path} is one to one; check from, to and kind")
    return pairs


def one_to_one(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs in which neither name occurs in another pair; ``from`` in capitals, as data vary in this."""
    pairs = pairs.dropna().assign(**{"from": lambda table: table["from"].str.upper()}).drop_duplicates()
    ambiguous = pairs["from"].duplicated(keep=False) | pairs["to"].duplicated(keep=False)
    return pairs[~ambiguous].reset_index(drop=True)


def translate(genes: pd.Index, how: str, orthologs: pd.DataFrame | None = None) -> tuple[pd.Index, dict[str, int]]:
    """Map names of genes to the symbols that the gene sets use.

    A gene that has no symbol, or shares its symbol with another gene of the data, keeps its name with `NO_SYMBOL` at
    the end: it counts in normalisation and selection, but is in no gene set.

    Parameters
    ----------
    genes
        Names of the data's genes, unique, shape (n_genes,).
    how
        ``as_is``, ``upper`` or ``orthologs``. The last needs the pairs of `read_orthologs`.

    Returns
    -------
    names
        Unique, shape (n_genes,).
    counts
        How many genes are ``mapped``, ``unmapped`` and ``ambiguous`` (share a symbol).
    """
    given = pd.Series(genes, index=genes, dtype=object)
    symbol = given if how == "as_is" else given.str.upper()
    if how == "orthologs":
        symbol = symbol.map(orthologs.set_index("from")["to"])
    unmapped = symbol.isna()
    ambiguous = ~unmapped & symbol.duplicated(keep=False)
    names = symbol.mask(unmapped | ambiguous, given + NO_SYMBOL)
    counts = {"mapped": ~unmapped & ~ambiguous, "unmapped": unmapped, "ambiguous": ambiguous}
    return pd.Index(names.to_numpy(), dtype=object), {what: int(genes.sum()) for what, genes in counts.items()}


def describe_match(
    genes: pd.DataFrame, sets: GeneSets, how: str, orthologs: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Count the symbols of the gene sets that occur in the data, for the record of prepared data.

    ``genes`` is ``var`` of the data: their names, and columns that could name them too.

    Returns
    -------
    dict
        ``how`` (see `translate`); the number of distinct symbols ``in the sets``; how many of them are ``found`` among
        the translated ``genes``; how many would be ``found by`` each way to translate; ``near misses``
        (`gene_sets.near_matches`), if there are `N_NEAR` of them or fewer than half of the symbols are found; the
        counts of ``genes`` by `translate`; ``columns``: how many symbols are found in each other column; ``dates``: how
        many names Excel has made dates of.
    """
    members = set().union(*sets.values())
    ways = ["as_is", "upper"] + ["orthologs"] * (orthologs is not None)
    translated = {way: translate(genes.index, way, orthologs) for way in ways}
    n_found = {way: len(members.intersection(names)) for way, (names, _) in translated.items()}
    names, counts = translated[how]
    near = near_matches(sets, names)
    return {
        "how": how,
        "in the sets": len(members),
        "found": n_found[how],
        "found by": n_found,
        "near misses": near if n_found[how] < len(members) / 2 or len(near) == N_NEAR else [],
        "genes": counts,
        "columns": {column: len(members.intersection(genes[column])) for column in genes},
        "dates": int(genes.index.str.fullmatch(DATE).sum()),
    }


def advice(match: dict[str, Any]) -> list[str]:
    """Return in lines what may help if symbols are not found.

    ``match`` is what `describe_match` returned.
    """
    found, ways = match["found"], match["found by"]
    ways = {f"symbols: {way}": n for way, n in ways.items()}
    ways |= {f"options: {{gene_names: {column}}}": n for column, n in match.get("columns", {}).items()}
    best = max(ways, key=lambda way: ways[way])
    lines = []
    if ways[best] > MANY_MORE * found:
        lines.append(f"{best} would find {ways[best]:,} of the symbols in the gene sets, not {found:,}")
    if match["near misses"]:
        pairs = ", ".join(f"{gene} (data) ~ {member} (sets)" for gene, member in match["near misses"])
        in_capitals = all(gene.upper() == member.upper() for gene, member in match["near misses"])
        remedy = "symbols: upper or orthologs may map them" if in_capitals else "rename them in one of the files"
        lines.append(f"nearly matched: {pairs}; {remedy}")
    if match.get("dates"):
        lines.append(
            f"{match['dates']} genes are dates, which Excel makes of MARCH1 or SEPT2; correct them in the file"
        )
    return lines
