"""Prepare a dataset: labels, subset, normalisation, highly variable genes, gene sets."""

from factorbench.adapter import reporting
from factorbench.contracts import write_prepared
from factorbench.genesets import read_gmt
from factorbench.prepare import prepare, read_raw
from factorbench.run import sha256

with reporting(snakemake) as say:
    name = snakemake.wildcards.dataset
    hashes = {key: sha256(snakemake.input[key]) for key in ("raw", "gene_sets")}
    sets = read_gmt(snakemake.input.gene_sets)
    data = prepare(read_raw(snakemake.input.raw), sets, snakemake.params.settings, name, hashes)
    write_prepared(snakemake.output[0], data)
    n_genes, n_sets = data.varm["mask"].shape
    say(f"prepare {name}: {data.n_obs:,} cells, {n_genes:,} genes, {n_sets} gene sets")
