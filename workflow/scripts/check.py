"""Ask every method that is planned on a dataset whether it can fit it, before any training."""

from factorbench import config as settings
from factorbench import contracts
from factorbench.adapter import reporting
from factorbench.contracts import UserError
from factorbench.run import check

with reporting(snakemake):
    dataset, config = snakemake.wildcards.dataset, snakemake.config
    data = contracts.read_prepared(snakemake.input[0])
    for method in dict.fromkeys(m for d, m, _ in settings.planned(config) if d == dataset):
        try:
            check(config["methods"][method]["use"], settings.params(config, dataset, method), data)
        except UserError as error:
            raise UserError(f"methods.{method} on datasets.{dataset}: {error}") from None
    n_genes, n_sets = data.varm["mask"].shape
    contracts.write_json(snakemake.output[0], {"cells": data.n_obs, "genes": n_genes, "gene_sets": n_sets})
