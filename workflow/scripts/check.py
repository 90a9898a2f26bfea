"""Ask every method whether it can fit the data it is going to meet, before any training."""

from factorbench import contracts, registry
from factorbench.adapter import reporting
from factorbench.contracts import UserError, read_prepared, write_json

with reporting(snakemake):
    shapes, held_out = {}, {}
    for path in snakemake.input:
        data, name = read_prepared(path), path.split("/")[-2]
        seen = contracts.seen_cells(data)
        shapes[name], held_out[name] = (int(seen.sum()), *data.varm["mask"].shape), not seen.all()
    for dataset, method, use, params in snakemake.params.runs:
        module = registry.load("method", use)
        if hasattr(module, "check") and (module.SPEC.projects or not held_out[dataset]):
            try:
                module.check(*shapes[dataset], params)
            except UserError as error:
                raise UserError(f"methods.{method} on datasets.{dataset}: {error}") from None
    keys = ("cells", "genes", "gene_sets")
    write_json(snakemake.output[0], {name: dict(zip(keys, shape, strict=True)) for name, shape in shapes.items()})
