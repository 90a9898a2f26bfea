"""Prepare a dataset: labels, subset, normalisation, highly variable genes, gene sets, held-out cells."""

from factorbench.adapter import reporting
from factorbench.contracts import on_disk, write_prepared
from factorbench.genesets import read_gmt
from factorbench.prepare import prepare_blocks
from factorbench.run import sha256
from factorbench.symbols import read_orthologs

with reporting(snakemake) as say:
    name, settings = snakemake.wildcards.dataset, snakemake.params.settings
    hashes = {"raw": sha256(snakemake.input.raw)}
    hashes |= dict(zip(settings["gene_sets"], map(sha256, snakemake.input.gene_sets), strict=True))
    orthologs = None
    for path in snakemake.input.orthologs:
        table = settings["orthologs"]
        hashes[table] = sha256(path)
        unpacked = snakemake.config["limits"]["unpacked"]
        orthologs = read_orthologs(path, snakemake.params.columns, f"orthologs.{table}", unpacked)
    sets = [read_gmt(path) for path in snakemake.input.gene_sets]
    with on_disk(snakemake.input.raw) as raw:
        write_prepared(snakemake.output[0], prepare_blocks(raw, sets, settings, name, hashes, orthologs))
    with on_disk(snakemake.output[0]) as data:
        n_genes, n_sets = data.varm["mask"].shape
        say(f"prepare {name}: {data.n_obs:,} cells, {n_genes:,} genes, {n_sets} gene sets")
