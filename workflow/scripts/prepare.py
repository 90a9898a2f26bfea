"""Prepare a dataset: labels, a subset, normalisation, highly variable genes, gene sets, held-out cells."""

from factorbench.adapters import reporting
from factorbench.contracts.files import on_disk, sha256
from factorbench.contracts.prepared import prepared_size, write_prepared
from factorbench.data.gene_sets import read_gmt
from factorbench.data.preparation import prepare_blocks
from factorbench.data.symbols import read_orthologs

with reporting(snakemake) as say:
    name, entry = snakemake.wildcards.dataset, snakemake.params.entry
    hashes = {"raw": sha256(snakemake.input.raw)}
    hashes |= dict(zip(entry["gene_sets"], map(sha256, snakemake.input.gene_sets), strict=True))
    orthologs, unpacked = None, snakemake.config["limits"]["unpacked"]
    for path in snakemake.input.orthologs:
        hashes[entry["orthologs"]] = sha256(path)
        orthologs = read_orthologs(path, snakemake.params.columns, f"orthologs.{entry['orthologs']}", unpacked)
    sets = [read_gmt(path) for path in snakemake.input.gene_sets]
    with on_disk(snakemake.input.raw) as raw:
        write_prepared(snakemake.output[0], prepare_blocks(raw, sets, entry, name, hashes, orthologs))
    n_cells, n_genes, n_sets = prepared_size(snakemake.output[0])
    say(f"prepare {name}: {n_cells:,} cells, {n_genes:,} genes, {n_sets} gene sets")
