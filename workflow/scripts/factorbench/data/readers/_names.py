"""Which features of a file are genes, and what names of cells and genes look like if a file does not say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts.errors import UserError
from ...registry import Param

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FEATURE_TYPE = Param("Gene Expression", "type of the features to read, if a file has types")
OTHER_TYPE = "features of another type"
"""Phrase of a note that counts features which are not read."""
CELL = re.compile("[ACGT]{8,}")
"""Part of the name of a cell: its barcode."""
IDENTIFIER = re.compile("(ENS[A-Z]*G|FBgn|WBGene)[0-9]{5,}")
"""Start of a gene's identifier in Ensembl, FlyBase or WormBase."""
SYMBOL = re.compile(
    "(ACTB|GAPDH|MALAT1|B2M|EEF1A1|RP[LS][0-9]+[AXYL]?|MT-(ND[1-6]|CO[1-3]|CYB|ATP[68]))", re.IGNORECASE
)
"""Symbols of genes that nearly all data of human, mouse or rat have."""

FIRST = 100_000
"""Names that are looked at, more than any data have genes. There may be millions of cells."""


def looks_like(names: Iterable[str]) -> str:
    """Return what most of the first names are: ``"cells"``, ``"genes"``, or an empty text if it is not certain."""
    names = [str(name) for name in islice(names, FIRST)]
    if sum(bool(CELL.search(name)) for name in names) > len(names) / 2:
        return "cells"
    if sum(bool(IDENTIFIER.match(name)) for name in names) > len(names) / 2:
        return "genes"
    return "genes" if len({name for name in names if SYMBOL.fullmatch(name)}) > 1 else ""


def exchanged(genes: Iterable[str], cells: Iterable[str]) -> bool:
    """Return whether names taken for ``genes`` must be those of cells, and the other way round."""
    kinds = looks_like(genes), looks_like(cells)
    return kinds[0] != kinds[1] and (kinds[0] == "cells" or kinds[1] == "genes")


def of_type(types: pd.Series, wanted: str, where: str) -> np.ndarray:
    """Return which features are of the type that is wanted, or of none, bool, shape (n_features,).

    Raise a `UserError` that lists the types ``where`` the features are if there is no such feature.
    """
    right = (types.isna() | (types == wanted)).to_numpy()
    if not right.any():
        existing = ", ".join(map(str, types.unique())) or "no features"
        raise UserError(f"options.feature_type: {where} has {existing}, not {wanted}")
    return right


def check_genes(names: Iterable[str], path: Path) -> None:
    """Raise a `UserError` if most genes have two more features, called as they are and -U or -A.

    alevin-fry writes spliced, unspliced and ambiguous counts so. Together they would be three genes each.
    """
    names = set(names)
    if 3 * sum({f"{name}-U", f"{name}-A"} <= names for name in names) > len(names) / 2:
        raise UserError(
            f"{path}: has spliced, unspliced (-U) and ambiguous (-A) counts of each gene, as alevin-fry counts them; "
            'write their sums: pyroe.load_fry(..., output_format="scRNA").write_h5ad(...) (reader: h5ad)'
        )
