"""Recognise what a file is, so that an error can say it, and what is read instead."""

from __future__ import annotations

import contextlib
import gzip
import zipfile
from pathlib import Path

ANNDATA, ZARR, TENX, MARKET = "AnnData", "zarr", "10x counts", "Matrix Market"
"""Formats that readers read."""

GZIP = b"\x1f\x8b"
"""The first bytes of a gzip file."""

READ_INSTEAD = {
    ANNDATA: "an AnnData file; it is read with reader: h5ad",
    TENX: "10x counts; they are read with reader: tenx",
    "molecule_info": "a 10x molecule_info file, which has molecules and not counts; give the "
    "filtered_feature_bc_matrix.h5 of the same run (reader: tenx)",
    "loom": "a Loom file; convert it: scanpy.read_loom(...).write_h5ad(...) (reader: h5ad)",
    "MuData": 'a MuData file; write one of its parts: mudata.read_h5mu(...)["rna"].write_h5ad(...) (reader: h5ad)',
    "h5Seurat": "an h5Seurat file; convert it with SeuratDisk::Convert(..., dest = 'h5ad') (reader: h5ad)",
    "R": "an R object (rds or RData); write its counts in R, with DropletUtils::write10xCounts (reader: tenx) or "
    "zellkonverter::writeH5AD (reader: h5ad)",
    "Excel": "an Excel file; save the table as text, separated by tabs, and look for genes that became dates",
    "Parquet": "a Parquet file; write it as text, separated by tabs",
    ZARR: "a zarr store; if it is one of AnnData, it is read with reader: h5ad",
    "zip": "a zip archive; give its address and the member as the source: {url: ..., member: ...}",
    "tar": "a tar archive; give its address and the member as the source: {url: ..., member: ...}",
    MARKET: "a Matrix Market file; it is read with reader: tenx, beside its barcodes and genes",
    "web page": "a web page; its source sends a page in place of the file: correct the source, and delete this copy",
    "git-lfs pointer": "a pointer of git-lfs, not the file itself; run git lfs pull where it comes from",
    "UTF-16": "text in UTF-16; save it as UTF-8",
    "bzip2": "compressed by bzip2; unpack it (bunzip2), or compress it by gzip",
    "xz": "compressed by xz; unpack it (unxz), or compress it by gzip",
    "zstd": "compressed by zstd; unpack it (unzstd), or compress it by gzip",
    "gzip in gzip": "compressed by gzip twice; unpack it once (gunzip)",
}
"""Format -> what a user should know of a file in this format that cannot be read."""

STARTS = {
    b"PAR1": "Parquet",
    b"%%MatrixMarket": MARKET,
    b"\xd0\xcf\x11\xe0": "Excel",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    GZIP: "gzip in gzip",  # a single one is unpacked before this is compared
    **dict.fromkeys((b"RDX2", b"RDX3", b"RDA2", b"X\n\0\0\0", b"A\n2\n", b"A\n3\n"), "R"),
}
"""First bytes -> format, of plain files or of the content of gzip files."""

MEMBERS = (
    ("molecule_info", {"barcode_idx", "umi"}),
    ("loom", {"matrix", "row_attrs", "col_attrs"}),
    ("MuData", {"mod", "obs"}),
    ("h5Seurat", {"assays", "cell.names"}),
    (ANNDATA, {"obs", "var"}),
    (TENX, {"matrix/barcodes"}),
)
"""Formats and the members of an HDF5 file by which they are recognised, the first one that fits."""


def recognise(path: Path) -> str:
    """Return the format of a file, one of `READ_INSTEAD`; empty: it is not recognised."""
    with contextlib.suppress(OSError, EOFError, zipfile.BadZipFile):
        with open(path, "rb") as file:
            start = file.read(512)
        if start.startswith(GZIP):
            with gzip.open(path) as file:
                start = file.read(512)
        if name := stand_in(start):
            return name
        for magic, name in STARTS.items():
            if start.startswith(magic):
                return name
        if start[257:262] == b"ustar":
            return "tar"
        if start.startswith(b"PK\3\4"):
            return _zipped(path)
        if start.startswith(b"\x89HDF"):
            return _hdf5(path)
    return ""


def stand_in(start: bytes) -> str:
    """Return what a file is that stands in place of another, by its first bytes; an empty text if it is none.

    Servers send web pages, and a checkout without git-lfs has small pointers.
    """
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "web page"
    return "git-lfs pointer" if start.startswith(b"version https://git-lfs") else ""


def _zipped(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = {name.rsplit("/", 1)[-1] for name in archive.namelist()}
    if "workbook.xml" in names:
        return "Excel"
    return ZARR if names & {".zgroup", "zarr.json"} else "zip"


def _hdf5(path: Path) -> str:
    import h5py

    with h5py.File(path) as file:
        return next((name for name, members in MEMBERS if all(member in file for member in members)), "")
