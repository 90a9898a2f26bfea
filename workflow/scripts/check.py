"""Ask every method whether it can fit the data it is going to meet, before any training."""

from factorbench import registry
from factorbench.adapter import reporting
from factorbench.contracts import UserError, read_prepared, write_json

with reporting(snakemake):
    runs = dict.fromkeys((dataset, method) for dataset, method, _ in snakemake.params.runs)
    shapes = {}
    for path in snakemake.input:
        data = read_prepared(path)
        shapes[path.split("/")[-2]] = (data.n_obs, *data.varm["mask"].shape)
    for dataset, method in runs:
        entry = snakemake.params.methods[method]
        check = getattr(registry.load("method", entry["use"]), "check", None)
        if check is not None:
            try:
                check(*shapes[dataset], entry["params"])
            except UserError as error:
                raise UserError(f"methods.{method} on datasets.{dataset}: {error}") from None
    keys = ("cells", "genes", "gene_sets")
    write_json(snakemake.output[0], {name: dict(zip(keys, shape, strict=True)) for name, shape in shapes.items()})
