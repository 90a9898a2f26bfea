"""Prepare a dataset: labels, a subset, normalisation, highly variable genes, gene sets, held-out cells."""

from factorbench.adapters import reporting
from factorbench.contracts.files import on_disk, sha256
from factorbench.contracts.prepared import prepared_size, read_record, write_prepared
from factorbench.data.gene_sets import has_descriptions, read_gmt
from factorbench.data.preparation import prepare_blocks
from factorbench.data.symbols import advice, read_orthologs

with reporting(snakemake) as say:
    name, entry = snakemake.wildcards.dataset, snakemake.params.entry
    hashes = {"raw": sha256(snakemake.input.raw)}
    hashes |= dict(zip(entry["gene_sets"], map(sha256, snakemake.input.gene_sets), strict=True))
    orthologs, unpacked = None, snakemake.config["limits"]["unpacked"]
    for path in snakemake.input.orthologs:
        hashes[entry["orthologs"]] = sha256(path)
        orthologs = read_orthologs(path, snakemake.params.columns, f"orthologs.{entry['orthologs']}", unpacked)
    with on_disk(snakemake.input.raw) as raw:
        entry["descriptions"] = [
            has_descriptions(path, raw.var_names) if given is None else given
            for path, given in zip(snakemake.input.gene_sets, entry["descriptions"], strict=True)
        ]
        sets = list(map(read_gmt, snakemake.input.gene_sets, entry["descriptions"]))
        write_prepared(snakemake.output[0], prepare_blocks(raw, sets, entry, name, hashes, orthologs))
    for collection, described in zip(entry["gene_sets"], entry["descriptions"], strict=True):
        if not described:
            say(f"note: gene_sets.{collection}: the second column was read as genes (if wrong: descriptions: true)")
    for line in advice(read_record(snakemake.output[0])["symbols"]):
        say(f"note: datasets.{name}: {line}")
    n_cells, n_genes, n_sets = prepared_size(snakemake.output[0])
    say(f"prepare {name}: {n_cells:,} cells, {n_genes:,} genes, {n_sets} gene sets")
